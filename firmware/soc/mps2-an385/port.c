/** Arm MPS2, AN385. Register numbers: CMSDK r1p0 technical reference manual, AN385 memory map. */
#include "board.h"
#include "hal.h"
#include "i2c-bitbang.h"
#include "interrupts.h"
#include "memory.h"
#include "nvic.h"
#include "startup.h"
#include "uart.h"

#define TIMER0 0x40000000u
#define TIMER1 0x40001000u
#define WATCHDOG 0x40008000u
#define GPIO0 0x40010000u
#define CLOCK_MHZ (SL_CLOCK_HZ / 1000000u)
/* Anything shorter is over before the processor sleeps; anything longer would wrap the timer (171 s). */
#define SLEEP_MIN_US 2u
#define SLEEP_MAX_US 100000000u

static const uint32_t uarts[] = {0x40004000u, 0x40005000u, 0x40006000u, 0x40007000u, 0x40009000u};
static const uint8_t uart_irqs[] = {SL_IRQ_UART0_RX, SL_IRQ_UART1_RX, SL_IRQ_UART2_RX, SL_IRQ_UART3_RX,
                                                 SL_IRQ_UART4_RX};

/* This board has no register for it: RAM keeps what happened last. */
#define REASON_MAGIC 0x52450000u
static sl_reset_reason reason;

static uint32_t last_ticks;
static uint32_t now_us;
static uint32_t rest_ticks;

void sl_soc_start(void) {
  const uint32_t kept = SL_KEPT_WORD;
  SL_KEPT_WORD = REASON_MAGIC | SL_RESET_PIN;
  if (!sl_take_reason(&reason)) {
    reason = (kept & 0xFFFF0000u) == REASON_MAGIC ? (sl_reset_reason)(kept & 0xFFu) : SL_RESET_POWER;
  }
  SL_AT(TIMER0 + 0x8u) = 0xFFFFFFFFu;
  SL_AT(TIMER0 + 0x4u) = 0xFFFFFFFFu;
  SL_AT(TIMER0 + 0x0u) = 1;
  last_ticks = 0xFFFFFFFFu;
  sl_nvic_enable(SL_IRQ_TIMER1);
}

/** Counts on from the free-running timer; called at least every 100 s, because no sleep is longer. */
uint32_t sl_hal_now_us(void) {
  const uint32_t state = sl_hal_irq_off();
  const uint32_t ticks = SL_AT(TIMER0 + 0x4u);
  rest_ticks += last_ticks - ticks;
  last_ticks = ticks;
  now_us += rest_ticks / CLOCK_MHZ;
  rest_ticks %= CLOCK_MHZ;
  const uint32_t result = now_us;
  sl_hal_irq_restore(state);
  return result;
}

void sl_isr_timer1(void) {
  SL_AT(TIMER1 + 0x0u) = 0;
  SL_AT(TIMER1 + 0xCu) = 1;
}

void sl_hal_idle(uint32_t at_most_us) {
  (void)sl_hal_now_us();
  if (at_most_us < SLEEP_MIN_US) return;
  SL_AT(TIMER1 + 0x0u) = 0;
  SL_AT(TIMER1 + 0xCu) = 1;
  SL_AT(TIMER1 + 0x4u) = (at_most_us > SLEEP_MAX_US ? SLEEP_MAX_US : at_most_us) * CLOCK_MHZ;
  SL_AT(TIMER1 + 0x0u) = 1u | 8u;
  sl_wait_for_interrupt();
  SL_AT(TIMER1 + 0x0u) = 0;
}

/* ---- serial ---- */

static bool sending[SL_UART_COUNT];

bool sl_hal_uart_open(uint8_t port, const sl_uart_line *line) {
  /* The part has eight bits, no parity and one stop bit, nothing else. */
  if (port >= SL_UART_COUNT || line->parity != SL_PARITY_NONE || line->stop_bits != 1 || line->baud == 0) return false;
  const uint32_t uart = uarts[port];
  SL_AT(uart + 0x10u) = SL_CLOCK_HZ / line->baud;
  SL_AT(uart + 0x08u) = 1u | 2u | 4u | 8u;
  sl_nvic_enable(uart_irqs[port]);
  sl_nvic_enable(uart_irqs[port] + 1u);
  return true;
}

static void send_next(uint8_t port) {
  const int32_t byte = sl_uart_next(port);
  if (byte < 0) {
    sending[port] = false;
  } else {
    SL_AT(uarts[port]) = (uint32_t)byte;
  }
}

void sl_hal_uart_start(uint8_t port) {
  const uint32_t state = sl_hal_irq_off();
  if (!sending[port]) {
    sending[port] = true;
    send_next(port);
  }
  sl_hal_irq_restore(state);
}

bool sl_hal_uart_drained(uint8_t port) { return !sending[port] && (SL_AT(uarts[port] + 4u) & 1u) == 0; }

static void receive(uint8_t port) {
  const uint32_t uart = uarts[port];
  SL_AT(uart + 0xCu) = 2; /* first: a byte that comes while this runs asks again */
  while ((SL_AT(uart + 4u) & 2u) != 0) {
    const bool overrun = (SL_AT(uart + 4u) & 8u) != 0;
    if (overrun) SL_AT(uart + 4u) = 8;
    sl_uart_received(port, (uint8_t)SL_AT(uart), overrun);
  }
}

static void transmit(uint8_t port) {
  SL_AT(uarts[port] + 0xCu) = 1;
  if (sending[port]) send_next(port);
}

void sl_isr_uart0_rx(void) { receive(0); }
void sl_isr_uart0_tx(void) { transmit(0); }
void sl_isr_uart1_rx(void) { receive(1); }
void sl_isr_uart1_tx(void) { transmit(1); }
void sl_isr_uart2_rx(void) { receive(2); }
void sl_isr_uart2_tx(void) { transmit(2); }
void sl_isr_uart3_rx(void) { receive(3); }
void sl_isr_uart3_tx(void) { transmit(3); }
void sl_isr_uart4_rx(void) { receive(4); }
void sl_isr_uart4_tx(void) { transmit(4); }

/* ---- flash: 16 MiB of PSRAM that behave as NOR does ---- */

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
  for (uint32_t at = address; at < address + size; at += 4) SL_AT(at) = 0xFFFFFFFFu;
  return true;
}

bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % 4u != 0) return false;
  const uint8_t *bytes = from;
  for (uint32_t at = 0; at < size; at += 4) {
    uint32_t word;
    memcpy(&word, &bytes[at], sizeof word);
    SL_AT(address + at) &= word;
  }
  return true;
}

/* ---- watchdog, reset, identity ---- */

/** The first time-out is an interrupt that ends in a reset; the second one resets by itself if even that hangs. */
bool sl_hal_watchdog_start(uint32_t timeout_ms) {
  SL_AT(WATCHDOG + 0xC00u) = 0x1ACCE551u;
  SL_AT(WATCHDOG + 0x0u) = timeout_ms >= 170000u ? 0xFFFFFFFFu : timeout_ms * (SL_CLOCK_HZ / 1000u);
  SL_AT(WATCHDOG + 0x8u) = 3;
  SL_AT(WATCHDOG + 0xC00u) = 0;
  return true;
}

void sl_hal_watchdog_feed(void) {
  SL_AT(WATCHDOG + 0xC00u) = 0x1ACCE551u;
  SL_AT(WATCHDOG + 0xCu) = 1;
  SL_AT(WATCHDOG + 0xC00u) = 0;
}

static _Noreturn void reset_because(sl_reset_reason why) {
  SL_KEPT_WORD = REASON_MAGIC | (uint32_t)why;
  __asm volatile("dsb" ::: "memory");
  SL_AT(0xE000ED0Cu) = 0x05FA0004u;
  for (;;) {
  }
}

void sl_isr_nmi(void) { reset_because(SL_RESET_WATCHDOG); }

_Noreturn void sl_hal_reset(void) { reset_because(SL_RESET_SOFTWARE); }

sl_reset_reason sl_hal_reset_reason(void) { return reason; }

/** The image has no serial number; what there is tells which kind of board this is. */
void sl_hal_unique_id(uint8_t id[8]) {
  const uint32_t kind = SL_AT(0x4002FFFCu); /* SCC ID: 0x41043850 for AN385 */
  for (uint32_t i = 0; i < 8; i++) id[i] = i < 4 ? (uint8_t)(kind >> (8u * i)) : 0;
}

/* ---- pins, I2C ---- */

static uint32_t gpio(uint8_t pin) { return GPIO0 + 0x1000u * (pin / 16u); }

bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode) {
  if (pin >= 64 || mode == SL_PIN_INPUT_PULL_UP || mode == SL_PIN_INPUT_PULL_DOWN) return false;
  SL_AT(gpio(pin) + (mode == SL_PIN_OUTPUT ? 0x10u : 0x14u)) = 1u << (pin % 16u);
  return true;
}

void sl_hal_pin_write(uint8_t pin, bool high) {
  volatile uint32_t *out = &SL_AT(gpio(pin) + 4u);
  *out = high ? *out | 1u << (pin % 16u) : *out & ~(1u << (pin % 16u));
}

bool sl_hal_pin_read(uint8_t pin) { return (SL_AT(gpio(pin)) >> (pin % 16u) & 1u) != 0; }

bool sl_hal_adc_read(uint8_t channel, uint16_t *share) {
  (void)channel;
  (void)share;
  return false; /* the board's converter is behind SPI, and not modelled by the emulator */
}

static uint32_t i2c_base(const void *context) { return *(const uint32_t *)context; }
static void scl(const void *context, bool high) { SL_AT(i2c_base(context) + (high ? 0u : 4u)) = 1; }
static void sda(const void *context, bool high) { SL_AT(i2c_base(context) + (high ? 0u : 4u)) = 2; }
static bool sda_read(const void *context) { return (SL_AT(i2c_base(context)) & 2u) != 0; }
/** This controller cannot tell whether a device holds the clock. */
static bool scl_free(const void *context) {
  (void)context;
  return true;
}

bool sl_hal_i2c_transfer(uint8_t bus, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in, size_t in_size) {
  /* 0 and 1: the two shields; 2 and 3: touch screen and audio, soldered on. */
  static const uint32_t buses[] = {0x4002A000u, 0x40029000u, 0x40022000u, 0x40023000u};
  if (bus >= sizeof buses / sizeof buses[0]) return false;
  const sl_i2c_lines lines = {scl, sda, scl_free, sda_read, &buses[bus]};
  return sl_i2c_transfer(&lines, address, out, out_size, in, in_size);
}
