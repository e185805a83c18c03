/** STM32F1: clocks, pins, flash. Register numbers: RM0041 (F100), which RM0008 shares. */
#include "../stm32/stm32.h"

#include "board.h"
#include "memory.h"
#include "nvic.h"

#define RCC 0x40021000u
#define GPIO 0x40010800u
#define FLASH 0x40022000u

uint32_t sl_stm32_reset_bits(void) {
  const uint32_t bits = SL_AT(RCC + 0x24u);
  SL_AT(RCC + 0x24u) = bits | 1u << 24;
  return bits;
}

uint32_t sl_stm32_id_address(void) { return 0x1FFFF7E8u; }

/** 24 MHz from the 8 MHz crystal, or, without it, from the internal oscillator. */
void sl_stm32_start_clocks(void) {
  SL_AT(RCC) |= 1u << 16;
  const bool crystal = sl_stm32_wait(RCC, 1u << 17, 1u << 17);
  SL_AT(RCC + 4u) = crystal ? 1u << 18 | 1u << 16 : 4u << 18; /* x3 of 8 MHz; x6 of 4 MHz */
  SL_AT(RCC) |= 1u << 24;
  (void)sl_stm32_wait(RCC, 1u << 25, 1u << 25);
  SL_AT(RCC + 4u) |= 2;
  (void)sl_stm32_wait(RCC + 4u, 3u << 2, 2u << 2);
  SL_AT(RCC + 0x18u) |= 0x1Du | 1u << 14; /* ports A to C, alternate functions, USART1 */
  SL_AT(RCC + 0x1Cu) |= 1u | 1u << 17;    /* TIM2, USART2 */
}

static void configure(uint8_t pin, uint32_t bits) {
  volatile uint32_t *control = &SL_AT(GPIO + 0x400u * (pin / 16u) + (pin % 16u >= 8u ? 4u : 0));
  const uint32_t shift = 4u * (pin % 8u);
  *control = (*control & ~(15u << shift)) | bits << shift;
}

void sl_hal_pin_write(uint8_t pin, bool high) {
  SL_AT(GPIO + 0x400u * (pin / 16u) + (high ? 0x10u : 0x14u)) = 1u << (pin % 16u);
}

bool sl_hal_pin_read(uint8_t pin) { return (SL_AT(GPIO + 0x400u * (pin / 16u) + 8u) >> (pin % 16u) & 1u) != 0; }

bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode) {
  if (pin >= 48) return false;
  if (mode == SL_PIN_INPUT_PULL_UP || mode == SL_PIN_INPUT_PULL_DOWN) {
    sl_hal_pin_write(pin, mode == SL_PIN_INPUT_PULL_UP);
  }
  configure(pin, mode == SL_PIN_OUTPUT ? 2u : mode == SL_PIN_INPUT ? 4u : 8u);
  return true;
}

void sl_stm32_uart_pin(uint8_t pin, bool transmits, uint8_t function) {
  (void)function; /* this family has no choice without remapping */
  if (transmits) {
    configure(pin, 0xBu);
  } else {
    (void)sl_hal_pin_mode(pin, SL_PIN_INPUT_PULL_UP);
  }
}

/* ---- flash: half-words ---- */

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

/** True: done, without a programming or protection error. */
static bool finished(void) {
  const bool ready = sl_stm32_wait(FLASH + 0xCu, 1, 0);
  const uint32_t status = SL_AT(FLASH + 0xCu);
  SL_AT(FLASH + 0xCu) = 0x34;
  return ready && (status & 0x14u) == 0;
}

static void unlock(void) {
  if ((SL_AT(FLASH + 0x10u) & 0x80u) == 0) return;
  SL_AT(FLASH + 4u) = 0x45670123u;
  SL_AT(FLASH + 4u) = 0xCDEF89ABu;
}

bool sl_hal_flash_erase(uint32_t address, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % SL_FLASH_PAGE != 0) return false;
  unlock();
  bool good = true;
  for (uint32_t at = address; good && at < address + size; at += SL_FLASH_PAGE) {
    SL_AT(FLASH + 0x10u) = 2;
    SL_AT(FLASH + 0x14u) = at;
    SL_AT(FLASH + 0x10u) = 0x42;
    good = finished();
  }
  SL_AT(FLASH + 0x10u) = 0x80;
  return good;
}

bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % 4u != 0) return false;
  const uint8_t *bytes = from;
  unlock();
  SL_AT(FLASH + 0x10u) = 1;
  bool good = true;
  for (uint32_t at = 0; good && at < size; at += 2) {
    *(volatile uint16_t *)(uintptr_t)(address + at) = (uint16_t)(bytes[at] | (uint32_t)bytes[at + 1u] << 8);
    good = finished();
  }
  SL_AT(FLASH + 0x10u) = 0x80;
  return good;
}
