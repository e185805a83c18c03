/** STM32F4: clocks, pins, flash. Register numbers: RM0090. */
#include "../stm32/stm32.h"

#include "board.h"
#include "memory.h"
#include "nvic.h"

#define RCC 0x40023800u
#define GPIO 0x40020000u
#define FLASH 0x40023C00u

uint32_t sl_stm32_reset_bits(void) {
  const uint32_t bits = SL_AT(RCC + 0x74u);
  SL_AT(RCC + 0x74u) = bits | 1u << 24;
  return bits;
}

uint32_t sl_stm32_id_address(void) { return 0x1FFF7A10u; }

/** 168 MHz from the internal 16 MHz oscillator, which is good to 1 %: enough for a serial line, whatever the crystal. */
void sl_stm32_start_clocks(void) {
  SL_AT(RCC + 0x40u) |= 1u << 28; /* power controller: voltage scale 1 is the reset value */
  SL_AT(FLASH) = 5u | 7u << 8;    /* five wait states, caches and prefetch on */
  SL_AT(RCC + 4u) = 16u | 336u << 6 | 7u << 24;
  SL_AT(RCC) |= 1u << 24;
  (void)sl_stm32_wait(RCC, 1u << 25, 1u << 25);
  SL_AT(RCC + 8u) = 5u << 10 | 4u << 13 | 2u; /* APB1 / 4, APB2 / 2, from the PLL */
  (void)sl_stm32_wait(RCC + 8u, 3u << 2, 2u << 2);
  SL_AT(RCC + 0x30u) |= 0x1Fu;         /* ports A to E */
  SL_AT(RCC + 0x40u) |= 1u | 1u << 17; /* TIM2, USART2 */
  SL_AT(RCC + 0x44u) |= 1u << 4;       /* USART1 */
}

static uint32_t gpio(uint8_t pin) { return GPIO + 0x400u * (pin / 16u); }

static void two_bits(uint8_t pin, uint32_t offset, uint32_t bits) {
  volatile uint32_t *field = &SL_AT(gpio(pin) + offset);
  const uint32_t shift = 2u * (pin % 16u);
  *field = (*field & ~(3u << shift)) | bits << shift;
}

bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode) {
  if (pin >= 80) return false;
  two_bits(pin, 0x0Cu, mode == SL_PIN_INPUT_PULL_UP ? 1u : mode == SL_PIN_INPUT_PULL_DOWN ? 2u : 0);
  two_bits(pin, 0x00u, mode == SL_PIN_OUTPUT ? 1u : 0);
  return true;
}

void sl_hal_pin_write(uint8_t pin, bool high) { SL_AT(gpio(pin) + 0x18u) = 1u << (pin % 16u + (high ? 0 : 16u)); }

bool sl_hal_pin_read(uint8_t pin) { return (SL_AT(gpio(pin) + 0x10u) >> (pin % 16u) & 1u) != 0; }

void sl_stm32_uart_pin(uint8_t pin, bool transmits, uint8_t function) {
  volatile uint32_t *alternate = &SL_AT(gpio(pin) + (pin % 16u >= 8u ? 0x24u : 0x20u));
  const uint32_t shift = 4u * (pin % 8u);
  *alternate = (*alternate & ~(15u << shift)) | (uint32_t)function << shift;
  if (!transmits) two_bits(pin, 0x0Cu, 1);
  two_bits(pin, 0x00u, 2);
}

/* ---- flash: sectors of 16, 64 and 128 KiB ---- */

/** The window the layout uses: sectors 5 on, which are all alike; the bootloader is in front of it. */
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

static bool finished(void) {
  bool ready = false;
  /* Erasing 128 KiB takes up to 2 s. */
  for (uint32_t i = 0; !ready && i < 1000u; i++) ready = sl_stm32_wait(FLASH + 0xCu, 1u << 16, 0);
  const uint32_t status = SL_AT(FLASH + 0xCu);
  SL_AT(FLASH + 0xCu) = 0xF3;
  return ready && (status & 0xF2u) == 0;
}

static void unlock(void) {
  if ((SL_AT(FLASH + 0x10u) & 1u << 31) == 0) return;
  SL_AT(FLASH + 4u) = 0x45670123u;
  SL_AT(FLASH + 4u) = 0xCDEF89ABu;
}

/** 0x08000000: four of 16 KiB, one of 64, then 128 each. */
static uint32_t sector_of(uint32_t address) {
  const uint32_t at = address - 0x08000000u;
  if (at < 0x10000u) return at / 0x4000u;
  return at < 0x20000u ? 4u : 4u + at / 0x20000u;
}

static bool starts_sector(uint32_t address) {
  return address == 0x08000000u || sector_of(address) != sector_of(address - 1u);
}

bool sl_hal_flash_erase(uint32_t address, uint32_t size) {
  if (!in_flash(address, size) || size == 0) return false;
  if (!starts_sector(address) || !starts_sector(address + size)) return false;
  unlock();
  bool good = true;
  for (uint32_t sector = sector_of(address); good && sector <= sector_of(address + size - 1u); sector++) {
    SL_AT(FLASH + 0x10u) = 2u | sector << 3 | 2u << 8;
    SL_AT(FLASH + 0x10u) |= 1u << 16;
    good = finished();
  }
  SL_AT(FLASH + 0x10u) = 1u << 31;
  return good;
}

bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % 4u != 0) return false;
  const uint8_t *bytes = from;
  unlock();
  SL_AT(FLASH + 0x10u) = 1u | 2u << 8;
  bool good = true;
  for (uint32_t at = 0; good && at < size; at += 4) {
    uint32_t word;
    memcpy(&word, &bytes[at], sizeof word);
    SL_AT(address + at) = word;
    good = finished();
  }
  SL_AT(FLASH + 0x10u) = 1u << 31;
  return good;
}
