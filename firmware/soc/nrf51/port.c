/** Nordic nRF51822. Register names and numbers: nRF51 Series Reference Manual v3.0. */
#include "board.h"
#include "hal.h"
#include "i2c-bitbang.h"
#include "interrupts.h"
#include "memory.h"
#include "nvic.h"
#include "startup.h"
#include "uart.h"

#define CLOCK 0x40000000u
#define POWER_RESETREAS 0x40000400u
#define UART 0x40002000u
#define ADC 0x40007000u
#define TIMER0 0x40008000u
#define WDT 0x40010000u
#define NVMC 0x4001E000u
#define FICR_DEVICEID 0x10000060u
#define GPIO 0x50000000u

#define PINS 32u

static sl_reset_reason reason;

static sl_reset_reason read_reason(void) {
  const uint32_t bits = SL_AT(POWER_RESETREAS);
  SL_AT(POWER_RESETREAS) = bits; /* they stay until cleared */
  if ((bits & 2u) != 0) return SL_RESET_WATCHDOG;
  if ((bits & 8u) != 0) return SL_RESET_LOCKUP;
  if ((bits & 4u) != 0) return SL_RESET_SOFTWARE;
  if ((bits & 1u) != 0) return SL_RESET_PIN;
  return bits == 0 ? SL_RESET_POWER : SL_RESET_UNKNOWN;
}

void sl_soc_start(void) {
  if (!sl_take_reason(&reason)) reason = read_reason();
  /* The serial line needs the crystal: the RC oscillator is off by up to 5 %. */
  SL_AT(CLOCK + 0x100u) = 0;
  SL_AT(CLOCK + 0x000u) = 1;
  while (SL_AT(CLOCK + 0x100u) == 0) {
  }
  SL_AT(TIMER0 + 0x504u) = 0; /* timer, not counter */
  SL_AT(TIMER0 + 0x508u) = 3; /* 32 bits */
  SL_AT(TIMER0 + 0x510u) = 4; /* 16 MHz / 2^4 */
  SL_AT(TIMER0 + 0x00Cu) = 1;
  SL_AT(TIMER0 + 0x000u) = 1;
  sl_nvic_enable(SL_IRQ_TIMER0);
}

uint32_t sl_hal_now_us(void) {
  const uint32_t state = sl_hal_irq_off();
  SL_AT(TIMER0 + 0x040u) = 1; /* capture into CC[0] */
  const uint32_t now_us = SL_AT(TIMER0 + 0x540u);
  sl_hal_irq_restore(state);
  return now_us;
}

void sl_isr_timer0(void) {
  SL_AT(TIMER0 + 0x144u) = 0;
  SL_AT(TIMER0 + 0x308u) = 1u << 17;
}

void sl_hal_idle(uint32_t at_most_us) {
  SL_AT(TIMER0 + 0x144u) = 0;
  SL_AT(TIMER0 + 0x544u) = sl_hal_now_us() + (at_most_us < 4u ? 4u : at_most_us);
  SL_AT(TIMER0 + 0x304u) = 1u << 17;
  sl_wait_for_interrupt();
  SL_AT(TIMER0 + 0x308u) = 1u << 17;
}

/* ---- serial ---- */

static bool sending;
static bool drained;

bool sl_hal_uart_open(uint8_t port, const sl_uart_line *line) {
  /* The part has one stop bit and even parity, nothing else. */
  if (port != 0 || line->stop_bits != 1 || line->parity == SL_PARITY_ODD || line->baud == 0) return false;
  SL_AT(GPIO + 0x508u) = 1u << SL_UART0_TX; /* idles high */
  SL_AT(GPIO + 0x518u) = 1u << SL_UART0_TX;
  SL_AT(GPIO + 0x700u + 4u * SL_UART0_RX) = 0;
  SL_AT(UART + 0x50Cu) = SL_UART0_TX;
  SL_AT(UART + 0x514u) = SL_UART0_RX;
#ifdef SL_UART0_DRIVER
  SL_AT(GPIO + 0x50Cu) = 1u << SL_UART0_DRIVER;
  SL_AT(GPIO + 0x518u) = 1u << SL_UART0_DRIVER;
#endif
  /* BAUDRATE is baud * 2^32 / 16 MHz, of which the upper 20 bits count: baud * 268.435456, rounded. */
  SL_AT(UART + 0x524u) = (line->baud * 268u + line->baud / 1000u * 435u + 0x800u) & 0xFFFFF000u;
  SL_AT(UART + 0x56Cu) = line->parity == SL_PARITY_EVEN ? 0x0Eu : 0;
  SL_AT(UART + 0x500u) = 4;
  SL_AT(UART + 0x304u) = 1u << 2 | 1u << 7 | 1u << 9; /* RXDRDY, TXDRDY, ERROR */
  sl_nvic_enable(SL_IRQ_UART0);
  SL_AT(UART + 0x000u) = 1;
  SL_AT(UART + 0x008u) = 1;
  return true;
}

static void send_next(void) {
  const int32_t byte = sl_uart_next(0);
  if (byte < 0) {
    sending = false;
    drained = true;
  } else {
    SL_AT(UART + 0x51Cu) = (uint32_t)byte;
  }
}

void sl_hal_uart_start(uint8_t port) {
  (void)port;
#ifdef SL_UART0_DRIVER
  SL_AT(GPIO + 0x508u) = 1u << SL_UART0_DRIVER;
#endif
  const uint32_t state = sl_hal_irq_off();
  if (!sending) {
    sending = true;
    drained = false;
    send_next();
  }
  sl_hal_irq_restore(state);
}

bool sl_hal_uart_drained(uint8_t port) {
  (void)port;
#ifdef SL_UART0_DRIVER
  if (drained) SL_AT(GPIO + 0x50Cu) = 1u << SL_UART0_DRIVER;
#endif
  return drained;
}

void sl_isr_uart0(void) {
  bool damaged = false;
  if (SL_AT(UART + 0x124u) != 0) {
    SL_AT(UART + 0x124u) = 0;
    const uint32_t source = SL_AT(UART + 0x480u);
    SL_AT(UART + 0x480u) = source;
    damaged = source != 0;
  }
  if (SL_AT(UART + 0x108u) != 0) {
    SL_AT(UART + 0x108u) = 0;
    sl_uart_received(0, (uint8_t)SL_AT(UART + 0x518u), damaged);
  }
  if (SL_AT(UART + 0x11Cu) != 0) {
    SL_AT(UART + 0x11Cu) = 0;
    if (sending) send_next();
  }
}

/* ---- flash ---- */

sl_flash_geometry sl_hal_flash_geometry(void) {
  return (sl_flash_geometry){SL_FLASH_BASE, SL_FLASH_SIZE, SL_FLASH_PAGE};
}

static bool in_flash(uint32_t address, uint32_t size) {
  return address <= SL_FLASH_SIZE && size <= SL_FLASH_SIZE - address;
}

bool sl_hal_flash_read(uint32_t address, void *to, uint32_t size) {
  if (!in_flash(address, size)) return false;
  memcpy(to, (const void *)(uintptr_t)address, size);
  return true;
}

static void flash_mode(uint32_t mode) {
  while (SL_AT(NVMC + 0x400u) == 0) {
  }
  SL_AT(NVMC + 0x504u) = mode;
}

bool sl_hal_flash_erase(uint32_t address, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % SL_FLASH_PAGE != 0) return false;
  for (uint32_t at = address; at < address + size; at += SL_FLASH_PAGE) {
    flash_mode(2);
    SL_AT(NVMC + 0x508u) = at;
    flash_mode(0);
  }
  return true;
}

bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % 4u != 0) return false;
  const uint8_t *bytes = from;
  flash_mode(1);
  for (uint32_t at = 0; at < size; at += 4) {
    uint32_t word;
    memcpy(&word, &bytes[at], sizeof word);
    SL_AT(address + at) = word;
    while (SL_AT(NVMC + 0x400u) == 0) {
    }
  }
  flash_mode(0);
  return true;
}

/* ---- watchdog, reset, identity ---- */

bool sl_hal_watchdog_start(uint32_t timeout_ms) {
  if (SL_AT(WDT + 0x400u) == 0) {
    SL_AT(WDT + 0x504u) = timeout_ms >= 130000u ? 0x3FFFFFu : timeout_ms * 32768u / 1000u;
    SL_AT(WDT + 0x508u) = 1;
    SL_AT(WDT + 0x50Cu) = 1; /* counts while asleep */
    SL_AT(WDT + 0x000u) = 1;
  }
  sl_hal_watchdog_feed();
  return true;
}

void sl_hal_watchdog_feed(void) { SL_AT(WDT + 0x600u) = 0x6E524635u; }

_Noreturn void sl_hal_reset(void) {
  __asm volatile("dsb" ::: "memory");
  SL_AT(0xE000ED0Cu) = 0x05FA0004u;
  for (;;) {
  }
}

sl_reset_reason sl_hal_reset_reason(void) { return reason; }

void sl_hal_unique_id(uint8_t id[8]) {
  for (uint32_t i = 0; i < 8; i++) id[i] = (uint8_t)(SL_AT(FICR_DEVICEID + (i & 4u)) >> (8u * (i & 3u)));
}

/* ---- pins, converter ---- */

bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode) {
  if (pin >= PINS) return false;
  const uint32_t pull = mode == SL_PIN_INPUT_PULL_UP ? 3u : mode == SL_PIN_INPUT_PULL_DOWN ? 1u : 0;
  SL_AT(GPIO + 0x700u + 4u * pin) = mode == SL_PIN_OUTPUT ? 3u : pull << 2;
  return true;
}

void sl_hal_pin_write(uint8_t pin, bool high) { SL_AT(GPIO + (high ? 0x508u : 0x50Cu)) = 1u << (pin % PINS); }

bool sl_hal_pin_read(uint8_t pin) { return (SL_AT(GPIO + 0x510u) >> (pin % PINS) & 1u) != 0; }

bool sl_hal_adc_read(uint8_t channel, uint16_t *share) {
  if (channel > 7) return false;
  /* 10 bits, a third of the input against a third of the supply: the full scale is the supply. */
  SL_AT(ADC + 0x504u) = 2u | 2u << 2 | 2u << 5 | 1u << (8u + channel);
  SL_AT(ADC + 0x500u) = 1;
  SL_AT(ADC + 0x100u) = 0;
  SL_AT(ADC + 0x000u) = 1;
  const uint32_t start_us = sl_hal_now_us();
  bool done = false;
  while (!done && sl_hal_now_us() - start_us < 1000u) done = SL_AT(ADC + 0x100u) != 0;
  *share = (uint16_t)(SL_AT(ADC + 0x508u) << 6);
  SL_AT(ADC + 0x500u) = 0;
  return done;
}

bool sl_hal_i2c_transfer(uint8_t bus, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in, size_t in_size) {
  return bus == 0 && sl_i2c_over_pins(SL_I2C0_SCL, SL_I2C0_SDA, address, out, out_size, in, in_size);
}
