/** Time, serial lines, watchdog, reset and identity of the STM32: the same blocks in F1 and F4. */
#include "stm32.h"

#include "board.h"
#include "i2c-bitbang.h"
#include "interrupts.h"
#include "nvic.h"
#include "startup.h"
#include "uart.h"

#define TIM2 0x40000000u
#define IWDG 0x40003000u
#define SYSTICK 0xE000E010u
#define SYSTICK_MHZ (SL_CLOCK_HZ / 8000000u)
#define TIM2_MAX_US 65000u

static sl_reset_reason reason;
static uint32_t last_ticks;
static uint32_t now_us;
static uint32_t rest_ticks;
static bool has_alarm;

bool sl_stm32_wait(uint32_t address, uint32_t mask, uint32_t wanted) {
  for (uint32_t i = 0; i < 100000u; i++) {
    if ((SL_AT(address) & mask) == wanted) return true;
  }
  return false;
}

static sl_reset_reason reason_of(uint32_t bits) {
  if ((bits & 3u << 29) != 0) return SL_RESET_WATCHDOG;
  if ((bits & 1u << 28) != 0) return SL_RESET_SOFTWARE;
  if ((bits & 1u << 27) != 0) return SL_RESET_POWER;
  if ((bits & 1u << 26) != 0) return SL_RESET_PIN;
  return SL_RESET_UNKNOWN;
}

void sl_soc_start(void) {
  const sl_reset_reason found = reason_of(sl_stm32_reset_bits());
  if (!sl_take_reason(&reason)) reason = found;
  sl_stm32_start_clocks();
  /* SysTick runs freely over its 24 bits at an eighth of the clock; its interrupt only keeps a turn from being missed. */
  SL_AT(SYSTICK + 4u) = 0xFFFFFFu;
  SL_AT(SYSTICK + 8u) = 0;
  SL_AT(SYSTICK + 0u) = 3;
  last_ticks = 0xFFFFFFu;
  SL_AT(TIM2 + 0x28u) = SL_TIMER_HZ / 1000000u - 1u;
  /* An emulator may have no timer here; then nothing would end a sleep. */
  has_alarm = SL_AT(TIM2 + 0x28u) == SL_TIMER_HZ / 1000000u - 1u;
  sl_nvic_enable(SL_IRQ_TIM2);
}

uint32_t sl_hal_now_us(void) {
  const uint32_t state = sl_hal_irq_off();
  const uint32_t ticks = SL_AT(SYSTICK + 8u);
  rest_ticks += (last_ticks - ticks) & 0xFFFFFFu;
  last_ticks = ticks;
  now_us += rest_ticks / SYSTICK_MHZ;
  rest_ticks %= SYSTICK_MHZ;
  const uint32_t result = now_us;
  sl_hal_irq_restore(state);
  return result;
}

void sl_isr_systick(void) { (void)sl_hal_now_us(); }

void sl_isr_tim2(void) { SL_AT(TIM2 + 0x10u) = 0; }

/* ---- serial ---- */

typedef struct {
  uint32_t base;
  uint32_t clock_hz;
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
    {SL_UART0_BASE, SL_UART0_CLOCK_HZ, SL_UART0_TX, SL_UART0_RX, SL_UART0_DRIVER, SL_IRQ_UART0},
#if SL_UART_COUNT > 1
    {SL_UART1_BASE, SL_UART1_CLOCK_HZ, SL_UART1_TX, SL_UART1_RX, SL_UART1_DRIVER, SL_IRQ_UART1},
#endif
};

static volatile bool sending[SL_UART_COUNT];
static bool opened[SL_UART_COUNT];

bool sl_hal_uart_open(uint8_t port, const sl_uart_line *line) {
  if (port >= SL_UART_COUNT || line->baud == 0) return false;
  const uart_pins *uart = &uarts[port];
  sl_stm32_uart_pin(uart->tx, true, 7);
  sl_stm32_uart_pin(uart->rx, false, 7);
  if (uart->driver != 0xFF) {
    sl_hal_pin_write(uart->driver, false);
    (void)sl_hal_pin_mode(uart->driver, SL_PIN_OUTPUT);
  }
  SL_AT(uart->base + 0x08u) = (uart->clock_hz + line->baud / 2u) / line->baud;
  SL_AT(uart->base + 0x10u) = line->stop_bits == 2 ? 2u << 12 : 0;
  uint32_t control = 1u << 13 | 1u << 5 | 1u << 3 | 1u << 2;
  if (line->parity != SL_PARITY_NONE) control |= 1u << 12 | 1u << 10; /* the parity bit is the ninth */
  if (line->parity == SL_PARITY_ODD) control |= 1u << 9;
  SL_AT(uart->base + 0x0Cu) = control;
  opened[port] = true;
  sl_nvic_enable(uart->irq);
  return true;
}

static void feed(uint8_t port) {
  const uint32_t base = uarts[port].base;
  if (!sending[port] || (SL_AT(base) & 1u << 7) == 0) return;
  const int32_t byte = sl_uart_next(port);
  if (byte < 0) {
    sending[port] = false;
    SL_AT(base + 0x0Cu) &= ~(1u << 7);
  } else {
    SL_AT(base + 0x04u) = (uint32_t)byte;
  }
}

void sl_hal_uart_start(uint8_t port) {
  if (uarts[port].driver != 0xFF) sl_hal_pin_write(uarts[port].driver, true);
  const uint32_t state = sl_hal_irq_off();
  sending[port] = true;
  SL_AT(uarts[port].base + 0x0Cu) |= 1u << 7;
  feed(port);
  sl_hal_irq_restore(state);
}

bool sl_hal_uart_drained(uint8_t port) {
  const bool drained = !sending[port] && (SL_AT(uarts[port].base) & 1u << 6) != 0;
  if (drained && uarts[port].driver != 0xFF) sl_hal_pin_write(uarts[port].driver, false);
  return drained;
}

static void serve(uint8_t port) {
  const uint32_t base = uarts[port].base;
  for (uint32_t status = SL_AT(base); (status & (1u << 5 | 1u << 3)) != 0; status = SL_AT(base)) {
    sl_uart_received(port, (uint8_t)SL_AT(base + 4u), (status & 0x0Fu) != 0);
  }
  feed(port);
}

void sl_isr_uart0(void) { serve(0); }
#if SL_UART_COUNT > 1
void sl_isr_uart1(void) { serve(1); }
#else
void sl_isr_uart1(void) {}
#endif

void sl_hal_idle(uint32_t at_most_us) {
  bool feeding = false;
  for (uint8_t port = 0; port < SL_UART_COUNT; port++) {
    /* Some emulators forget an interrupt. */
    if (opened[port]) serve(port);
    feeding = feeding || sending[port];
  }
  if (feeding || !has_alarm || at_most_us < 2u) return;
  SL_AT(TIM2 + 0x00u) = 0;
  SL_AT(TIM2 + 0x2Cu) = at_most_us > TIM2_MAX_US ? TIM2_MAX_US : at_most_us;
  SL_AT(TIM2 + 0x14u) = 1; /* takes the prescaler over, and sets the flag that is cleared next */
  SL_AT(TIM2 + 0x10u) = 0;
  SL_AT(TIM2 + 0x0Cu) = 1;
  SL_AT(TIM2 + 0x00u) = 1u | 1u << 3;
  sl_wait_for_interrupt();
  SL_AT(TIM2 + 0x00u) = 0;
}

/* ---- watchdog, reset, identity ---- */

bool sl_hal_watchdog_start(uint32_t timeout_ms) {
  SL_AT(IWDG + 0x0u) = 0x5555u;
  SL_AT(IWDG + 0x4u) = 6; /* some 32 kHz / 256 */
  SL_AT(IWDG + 0x8u) = timeout_ms > 32000u ? 0xFFFu : timeout_ms / 8u + 1u;
  SL_AT(IWDG + 0x0u) = 0xAAAAu;
  SL_AT(IWDG + 0x0u) = 0xCCCCu;
  return true;
}

void sl_hal_watchdog_feed(void) { SL_AT(IWDG) = 0xAAAAu; }

_Noreturn void sl_hal_reset(void) {
  __asm volatile("dsb" ::: "memory");
  SL_AT(0xE000ED0Cu) = 0x05FA0004u;
  for (;;) {
  }
}

sl_reset_reason sl_hal_reset_reason(void) { return reason; }

/** 96 bits of lot, wafer and place, folded into 64. */
void sl_hal_unique_id(uint8_t id[8]) {
  const uint32_t at = sl_stm32_id_address();
  const uint32_t low = SL_AT(at) ^ SL_AT(at + 8u);
  const uint32_t high = SL_AT(at + 4u);
  for (uint32_t i = 0; i < 4; i++) {
    id[i] = (uint8_t)(low >> (8u * i));
    id[i + 4u] = (uint8_t)(high >> (8u * i));
  }
}

bool sl_hal_adc_read(uint8_t channel, uint16_t *share) {
  (void)channel;
  (void)share;
  return false; /* not in this port */
}

bool sl_hal_i2c_transfer(uint8_t bus, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in, size_t in_size) {
  return bus == 0 && sl_i2c_over_pins(SL_I2C0_SCL, SL_I2C0_SDA, address, out, out_size, in, in_size);
}
