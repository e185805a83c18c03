/** Raspberry Pi RP2040: clocks, time, serial lines, watchdog, pins. Sections are those of the RP2040 datasheet. */
#include "board.h"
#include "hal.h"
#include "i2c-bitbang.h"
#include "interrupts.h"
#include "nvic.h"
#include "rp2040.h"
#include "startup.h"
#include "uart.h"

#define PINS 30u
#define MARK_RESET 0x534C5253u /* in scratch register 0: we reset ourselves */

static sl_reset_reason reason;

/* The chip has no reset that software may ask for but the watchdog's; a scratch register tells the two apart. */
static sl_reset_reason read_reason(void) {
  const uint32_t watchdog = SL_AT(WATCHDOG + 0x08u);
  const uint32_t chip = SL_AT(CHIP_RESET);
  const bool marked = SL_AT(WATCHDOG + 0x0Cu) == MARK_RESET;
  SL_AT(WATCHDOG + 0x0Cu) = 0;
  if (watchdog != 0) return marked ? SL_RESET_SOFTWARE : SL_RESET_WATCHDOG;
  if ((chip & 1u << 16) != 0) return SL_RESET_PIN;
  return SL_RESET_POWER;
}

static void leave_reset(uint32_t blocks) {
  CLEAR_BITS(RESETS) = blocks;
  while ((SL_AT(RESETS + 8u) & blocks) != blocks) {
  }
}

/** 12 MHz crystal -> 1500 MHz -> 125 MHz for the processor; the serial lines stay on the crystal (2.15, 2.16, 2.18). */
static void start_clocks(void) {
  SL_AT(XOSC + 0x0Cu) = 47; /* start-up delay, 1 ms */
  SL_AT(XOSC + 0x00u) = 0xFABAA0u;
  while ((SL_AT(XOSC + 0x04u) & 1u << 31) == 0) {
  }
  /* The processor runs on the reference clock while the rest changes. */
  CLEAR_BITS(CLOCKS + 0x3Cu) = 1;
  while ((SL_AT(CLOCKS + 0x44u) & 1u) == 0) {
  }
  SL_AT(CLOCKS + 0x30u) = 2; /* reference: crystal */
  while ((SL_AT(CLOCKS + 0x38u) & 4u) == 0) {
  }
  leave_reset(RESET_PLL_SYS);
  SL_AT(PLL_SYS + 0x00u) = 1;
  SL_AT(PLL_SYS + 0x08u) = 125;
  CLEAR_BITS(PLL_SYS + 0x04u) = 1u | 1u << 5;
  while ((SL_AT(PLL_SYS) & 1u << 31) == 0) {
  }
  SL_AT(PLL_SYS + 0x0Cu) = 6u << 16 | 2u << 12;
  CLEAR_BITS(PLL_SYS + 0x04u) = 1u << 3;
  SL_AT(CLOCKS + 0x3Cu) = 0; /* auxiliary source: PLL */
  SET_BITS(CLOCKS + 0x3Cu) = 1;
  while ((SL_AT(CLOCKS + 0x44u) & 2u) == 0) {
  }
  SL_AT(CLOCKS + 0x48u) = 1u << 11 | 4u << 5; /* peripherals: crystal */
}

void sl_soc_start(void) {
  if (!sl_take_reason(&reason)) reason = read_reason();
  start_clocks();
  SL_AT(WATCHDOG + 0x2Cu) = 12u | 1u << 9; /* one tick a microsecond, for timer and watchdog (4.7.2) */
  leave_reset(RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_TIMER);
  sl_nvic_enable(SL_IRQ_TIMER0);
}

uint32_t sl_hal_now_us(void) { return SL_AT(TIMER + 0x28u); }

void sl_isr_timer0(void) { SL_AT(TIMER + 0x34u) = 1; }

void sl_hal_idle(uint32_t at_most_us) {
  if (at_most_us < 3u) return;
  SL_AT(TIMER + 0x34u) = 1;
  SET_BITS(TIMER + 0x38u) = 1;
  SL_AT(TIMER + 0x10u) = sl_hal_now_us() + at_most_us;
  sl_wait_for_interrupt();
  SL_AT(TIMER + 0x20u) = 1; /* disarms */
  CLEAR_BITS(TIMER + 0x38u) = 1;
}

/* ---- serial (4.2): PL011 with FIFOs ---- */

typedef struct {
  uint32_t base;
  uint8_t tx;
  uint8_t rx;
  uint8_t driver; /* pin that switches an RS-485 driver on; 0xFF: none */
  uint8_t irq;
} uart_pins;

#ifndef SL_UART0_DRIVER
#define SL_UART0_DRIVER 0xFF
#endif
#ifndef SL_UART1_DRIVER
#define SL_UART1_DRIVER 0xFF
#endif

static const uart_pins uarts[SL_UART_COUNT] = {
    {UART0, SL_UART0_TX, SL_UART0_RX, SL_UART0_DRIVER, SL_IRQ_UART0},
#if SL_UART_COUNT > 1
    {UART1, SL_UART1_TX, SL_UART1_RX, SL_UART1_DRIVER, SL_IRQ_UART1},
#endif
};

static volatile bool feeding[SL_UART_COUNT];

static void uart_pin(uint8_t pin) {
  SL_AT(PADS_BANK0 + 4u + 4u * pin) = 1u << 6 | 1u << 3; /* input on, pull-up: a line that is cut stays silent */
  SL_AT(IO_BANK0 + 4u + 8u * pin) = 2;
}

bool sl_hal_uart_open(uint8_t port, const sl_uart_line *line) {
  if (port >= SL_UART_COUNT || line->baud == 0 || line->baud > SL_CRYSTAL_HZ / 16u) return false;
  const uart_pins *uart = &uarts[port];
  leave_reset(port == 0 ? RESET_UART0 : RESET_UART1);
  const uint32_t divisor = (SL_CRYSTAL_HZ * 4u + line->baud / 2u) / line->baud; /* in 64ths */
  SL_AT(uart->base + 0x24u) = divisor >> 6;
  SL_AT(uart->base + 0x28u) = divisor & 63u;
  uint32_t control = 3u << 5 | 1u << 4;
  if (line->stop_bits == 2) control |= 1u << 3;
  if (line->parity != SL_PARITY_NONE) control |= 1u << 1;
  if (line->parity == SL_PARITY_EVEN) control |= 1u << 2;
  SL_AT(uart->base + 0x2Cu) = control;
  SL_AT(uart->base + 0x34u) = 0;
  SL_AT(uart->base + 0x30u) = 1u | 1u << 8 | 1u << 9;
  SL_AT(uart->base + 0x38u) = 1u << 4 | 1u << 6; /* bytes, and bytes that are fewer than the FIFO waits for */
  uart_pin(uart->tx);
  uart_pin(uart->rx);
  if (uart->driver != 0xFF) {
    sl_hal_pin_write(uart->driver, false);
    (void)sl_hal_pin_mode(uart->driver, SL_PIN_OUTPUT);
  }
  sl_nvic_enable(uart->irq);
  return true;
}

/** Fills the FIFO; asks to be called again while something is left. */
static void feed(uint8_t port) {
  const uint32_t base = uarts[port].base;
  while (feeding[port] && (SL_AT(base + 0x18u) & 1u << 5) == 0) {
    const int32_t byte = sl_uart_next(port);
    if (byte < 0) {
      feeding[port] = false;
    } else {
      SL_AT(base) = (uint32_t)byte;
    }
  }
  if (feeding[port]) {
    SET_BITS(base + 0x38u) = 1u << 5;
  } else {
    CLEAR_BITS(base + 0x38u) = 1u << 5;
  }
}

void sl_hal_uart_start(uint8_t port) {
  if (uarts[port].driver != 0xFF) sl_hal_pin_write(uarts[port].driver, true);
  const uint32_t state = sl_hal_irq_off();
  feeding[port] = true;
  feed(port);
  sl_hal_irq_restore(state);
}

bool sl_hal_uart_drained(uint8_t port) {
  const bool drained = !feeding[port] && (SL_AT(uarts[port].base + 0x18u) & 1u << 3) == 0;
  if (drained && uarts[port].driver != 0xFF) sl_hal_pin_write(uarts[port].driver, false);
  return drained;
}

static void serve(uint8_t port) {
  const uint32_t base = uarts[port].base;
  SL_AT(base + 0x44u) = 1u << 4 | 1u << 5 | 1u << 6;
  while ((SL_AT(base + 0x18u) & 1u << 4) == 0) {
    const uint32_t data = SL_AT(base);
    sl_uart_received(port, (uint8_t)data, (data & 0xF00u) != 0);
  }
  feed(port);
}

void sl_isr_uart0(void) { serve(0); }
#if SL_UART_COUNT > 1
void sl_isr_uart1(void) { serve(1); }
#else
void sl_isr_uart1(void) {}
#endif

/* ---- watchdog (4.7), reset, identity ---- */

/* Counts down twice a tick (erratum E1), 24 bits: at most 8.3 s. */
static uint32_t watchdog_load;

bool sl_hal_watchdog_start(uint32_t timeout_ms) {
  watchdog_load = timeout_ms > 8300u ? 0xFFFFFFu : timeout_ms * 2000u;
  SL_AT(WATCHDOG + 0x04u) = watchdog_load;
  SL_AT(0x40010008u) = 0x0001FFFCu; /* PSM WDSEL: everything but the oscillators */
  SET_BITS(WATCHDOG) = 1u << 30;
  return true;
}

void sl_hal_watchdog_feed(void) {
  if (watchdog_load != 0) SL_AT(WATCHDOG + 0x04u) = watchdog_load;
}

_Noreturn void sl_hal_reset(void) {
  (void)sl_hal_irq_off();
  SL_AT(WATCHDOG + 0x0Cu) = MARK_RESET;
  SL_AT(0x40010008u) = 0x0001FFFCu;
  SET_BITS(WATCHDOG) = 1u << 31;
  for (;;) {
  }
}

sl_reset_reason sl_hal_reset_reason(void) { return reason; }

/* ---- pins (2.19), converter (4.9) ---- */

bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode) {
  if (pin >= PINS) return false;
  const uint32_t pull = mode == SL_PIN_INPUT_PULL_UP ? 1u << 3 : mode == SL_PIN_INPUT_PULL_DOWN ? 1u << 2 : 0;
  SL_AT(PADS_BANK0 + 4u + 4u * pin) = 1u << 6 | 1u << 4 | pull;
  SL_AT(IO_BANK0 + 4u + 8u * pin) = 5;
  SL_AT(SIO + (mode == SL_PIN_OUTPUT ? 0x24u : 0x28u)) = 1u << pin;
  return true;
}

void sl_hal_pin_write(uint8_t pin, bool high) { SL_AT(SIO + (high ? 0x14u : 0x18u)) = 1u << (pin & 31u); }

bool sl_hal_pin_read(uint8_t pin) { return (SL_AT(SIO + 0x04u) >> (pin & 31u) & 1u) != 0; }

/** Channels 0 to 3 are pins 26 to 29, 4 is the chip's temperature. Clocked by the crystal: 8 us a conversion. */
bool sl_hal_adc_read(uint8_t channel, uint16_t *share) {
  if (channel > 4) return false;
  SL_AT(CLOCKS + 0x60u) = 1u << 11 | 3u << 5;
  leave_reset(RESET_ADC);
  if (channel < 4) SL_AT(PADS_BANK0 + 4u + 4u * (26u + channel)) = 1u << 7;
  SL_AT(ADC) = 1u | (channel == 4 ? 2u : 0) | (uint32_t)channel << 12;
  const uint32_t start_us = sl_hal_now_us();
  bool ready = false;
  while (!ready && sl_hal_now_us() - start_us < 1000u) ready = (SL_AT(ADC) & 1u << 8) != 0;
  SET_BITS(ADC) = 1u << 2;
  ready = false;
  while (!ready && sl_hal_now_us() - start_us < 2000u) ready = (SL_AT(ADC) & 1u << 8) != 0;
  *share = (uint16_t)(SL_AT(ADC + 4u) << 4);
  return ready;
}

bool sl_hal_i2c_transfer(uint8_t bus, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in, size_t in_size) {
  return bus == 0 && sl_i2c_over_pins(SL_I2C0_SCL, SL_I2C0_SDA, address, out, out_size, in, in_size);
}
