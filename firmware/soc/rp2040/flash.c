/**
 * The RP2040's flash, through the functions of its boot ROM (datasheet 2.8.3.1.3): nothing can be fetched from the flash
 * meanwhile, so that this runs from RAM with interrupts off, and calls nothing that is not in RAM or ROM.
 */
#include "board.h"
#include "hal.h"
#include "memory.h"
#include "nvic.h"
#include "rp2040.h"

#define PROGRAM_PAGE 256u
#define IN_RAM __attribute__((noinline, section(".ramfunc")))

typedef void rom_void(void);
typedef void rom_erase(uint32_t offset, uint32_t count, uint32_t block, uint8_t command);
typedef void rom_program(uint32_t offset, const uint8_t *data, uint32_t count);
typedef void *rom_lookup(const uint16_t *table, uint32_t code);

typedef struct {
  rom_void *connect;
  rom_void *exit_xip;
  rom_erase *erase;
  rom_program *program;
  rom_void *flush;
  rom_void *enter_xip;
} rom_flash;

/** The boot ROM has half-words near address 0 that point at its table and at the function that searches it. */
static uint16_t rom_pointer(uint32_t address) {
  __asm volatile("" : "+r"(address)); /* gcc takes a low address for a null pointer */
  return *(const volatile uint16_t *)(uintptr_t)address;
}

static void *rom_function(char one, char other) {
  rom_lookup *lookup = (rom_lookup *)(uintptr_t)rom_pointer(0x18u);
  const uint16_t *table = (const uint16_t *)(uintptr_t)rom_pointer(0x14u);
  return lookup(table, (uint32_t)(uint8_t)other << 8 | (uint8_t)one);
}

static rom_flash rom(void) {
  return (rom_flash){
      (rom_void *)rom_function('I', 'F'),  (rom_void *)rom_function('E', 'X'),
      (rom_erase *)rom_function('R', 'E'), (rom_program *)rom_function('R', 'P'),
      (rom_void *)rom_function('F', 'C'),  (rom_void *)rom_function('C', 'X'),
  };
}

/** `data` NULL: erases. Leaves the flash in the plain serial read mode that stage 2 set up too. */
static IN_RAM void change(const rom_flash *calls, uint32_t offset, const uint8_t *data, uint32_t count) {
  calls->connect();
  calls->exit_xip();
  if (data == NULL) {
    calls->erase(offset, count, 65536u, 0xD8u);
  } else {
    calls->program(offset, data, count);
  }
  calls->flush();
  calls->enter_xip();
}

#define QSPI_SELECT_LOW SL_AT(0x4001800Cu) = 2u << 8
#define QSPI_SELECT_HIGH SL_AT(0x4001800Cu) = 3u << 8
#define ID_COMMAND 0x4Bu
#define ID_SKIP 5u /* the command and four bytes that mean nothing */

/** The chip has no number of its own, its flash has: command 0x4B, straight through the serial interface. */
static IN_RAM void read_id(const rom_flash *calls, uint8_t id[8]) {
  calls->connect();
  calls->exit_xip();
  QSPI_SELECT_LOW;
  uint32_t sent = 0;
  uint32_t got = 0;
  for (uint32_t tries = 0; got < ID_SKIP + 8u && tries < 10000u; tries++) {
    const uint32_t status = SL_AT(XIP_SSI + 0x28u);
    if ((status & 2u) != 0 && sent < ID_SKIP + 8u && sent < got + 14u) {
      SL_AT(XIP_SSI + 0x60u) = sent == 0 ? ID_COMMAND : 0;
      sent++;
    }
    if ((status & 8u) != 0) {
      const uint8_t byte = (uint8_t)SL_AT(XIP_SSI + 0x60u);
      if (got >= ID_SKIP) id[got - ID_SKIP] = byte;
      got++;
    }
  }
  QSPI_SELECT_HIGH;
  SL_AT(0x4001800Cu) = 0;
  calls->flush();
  calls->enter_xip();
}

void sl_hal_unique_id(uint8_t id[8]) {
  static uint8_t known[8];
  static bool asked;
  if (!asked) {
    const rom_flash calls = rom();
    const uint32_t state = sl_hal_irq_off();
    read_id(&calls, known);
    sl_hal_irq_restore(state);
    asked = true;
  }
  memcpy(id, known, sizeof known);
}

sl_flash_geometry sl_hal_flash_geometry(void) {
  return (sl_flash_geometry){SL_FLASH_BASE, SL_FLASH_SIZE, SL_FLASH_PAGE};
}

static bool in_flash(uint32_t address, uint32_t size) {
  const uint32_t at = address - SL_FLASH_BASE;
  return address >= SL_FLASH_BASE && at <= SL_FLASH_SIZE && size <= SL_FLASH_SIZE - at;
}

bool sl_hal_flash_read(uint32_t address, void *to, uint32_t size) {
  if (!in_flash(address, size)) return false;
  memcpy(to, (const void *)(uintptr_t)address, size);
  return true;
}

bool sl_hal_flash_erase(uint32_t address, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % SL_FLASH_PAGE != 0) return false;
  const rom_flash calls = rom();
  for (uint32_t at = 0; at < size; at += SL_FLASH_PAGE) {
    const uint32_t state = sl_hal_irq_off();
    change(&calls, address - SL_FLASH_BASE + at, NULL, SL_FLASH_PAGE);
    sl_hal_irq_restore(state);
  }
  return true;
}

/** Whole pages of 256 bytes go to the part; what was not asked for stays as it is, because ones change nothing. */
bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % 4u != 0) return false;
  const rom_flash calls = rom();
  const uint8_t *bytes = from;
  uint8_t page[PROGRAM_PAGE];
  for (uint32_t done = 0; done < size;) {
    const uint32_t at = address - SL_FLASH_BASE + done;
    const uint32_t skip = at % PROGRAM_PAGE;
    const uint32_t room = PROGRAM_PAGE - skip;
    const uint32_t part = size - done < room ? size - done : room;
    memset(page, 0xFF, sizeof page);
    memcpy(&page[skip], &bytes[done], part);
    const uint32_t state = sl_hal_irq_off();
    change(&calls, at - skip, page, PROGRAM_PAGE);
    sl_hal_irq_restore(state);
    done += part;
  }
  return true;
}
