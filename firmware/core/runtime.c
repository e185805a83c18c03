#include "runtime.h"

#include "board.h"
#include "memory.h"

/* A silence that long separates frames whatever broke them up: no master waits longer before it asks again. */
#define PAUSE_US 500000u
/* Wakes now and then although nothing happens, so that time is counted on and the watchdog fed. */
#define LONGEST_SLEEP_US 10000000u

static const sl_app *app;
static uint8_t unit;
static uint32_t uptime_s;
static uint32_t counted_us; /* the time at which that many seconds were over */

/* By subtraction: the M0 has no divider, and a division of 64 bits alone costs 1 KB. */
uint32_t sl_uptime_s(void) {
  const uint32_t now_us = sl_hal_now_us();
  while (now_us - counted_us >= 1000000u) {
    counted_us += 1000000u;
    uptime_s++;
  }
  return uptime_s;
}

void sl_set_unit(uint8_t number) {
  unit = number;
  for (uint8_t i = 0; i < app->line_count; i++) app->ports[i].rtu.unit = number;
}

void sl_start(const sl_app *application) {
  app = application;
  unit = app->unit;
  counted_us = sl_hal_now_us();
  for (uint8_t i = 0; i < app->line_count; i++) {
    const sl_modbus_line *line = &app->lines[i];
    sl_modbus_port *port = &app->ports[i];
    memset(port, 0, sizeof *port);
    sl_rtu_start(&port->rtu, unit);
    port->server.map = app->map;
    port->server.identity = app->identity;
    port->server.user = app->user;
    port->server.line = &port->rtu.counters;
    port->t35_us = sl_uart_t35_us(line->settings.baud);
    (void)sl_uart_open(line->uart, &line->settings, port->t35_us, PAUSE_US);
  }
  if (app->watchdog_ms > 0) (void)sl_hal_watchdog_start(app->watchdog_ms);
  if (app->setup != NULL) app->setup();
}

static void serve(const sl_modbus_line *line, sl_modbus_port *port) {
  const bool broadcast = port->rtu.bytes[0] == 0;
  const size_t request = (size_t)(port->rtu.size - 3u);
  const size_t size = sl_modbus_serve(&port->server, &port->rtu.bytes[1], request, broadcast, &port->frame[1]);
  port->ready = false;
  if (size == 0) return;
  port->frame[0] = unit;
  const uint16_t whole = sl_rtu_seal(port->frame, (uint16_t)(size + 1u));
  if (line->echo) sl_rtu_expect_echo(&port->rtu, port->frame, whole);
  sl_uart_send(line->uart, port->frame, whole);
}

static void receive(const sl_modbus_line *line, sl_modbus_port *port) {
  for (int32_t entry = sl_uart_read(line->uart); entry >= 0; entry = sl_uart_read(line->uart)) {
    /* Somebody speaks on: whoever asked has given up, and an answer now would be taken for another's. */
    if (port->ready) port->server.unanswered++;
    port->ready = sl_rtu_push(&port->rtu, (uint16_t)entry);
    if (port->ready && port->rtu.bytes[0] == 0) serve(line, port);
  }
  if (!port->ready && sl_rtu_open_end(&port->rtu) && sl_uart_silence_us(line->uart) >= port->t35_us) {
    port->ready = sl_rtu_silence(&port->rtu);
  }
}

void sl_poll(void) {
  sl_hal_watchdog_feed();
  (void)sl_uptime_s();
  for (uint8_t i = 0; i < app->line_count; i++) {
    const sl_modbus_line *line = &app->lines[i];
    sl_modbus_port *port = &app->ports[i];
    receive(line, port);
    if (!port->ready || sl_uart_sending(line->uart)) continue;
    if (line->shared && sl_uart_silence_us(line->uart) < port->t35_us) continue;
    serve(line, port);
  }
}

static uint32_t least(uint32_t one, uint32_t other) { return one < other ? one : other; }

/** How long this line has nothing to do by itself. */
static uint32_t quiet_us(const sl_modbus_line *line, const sl_modbus_port *port) {
  /* The end of the last stop bit has no interrupt on every SoC; it is looked for. */
  if (sl_uart_sending(line->uart)) return 100;
  if (!port->ready && !sl_rtu_open_end(&port->rtu)) return LONGEST_SLEEP_US;
  const uint32_t silent_us = sl_uart_silence_us(line->uart);
  return silent_us >= port->t35_us ? 0 : port->t35_us - silent_us;
}

void sl_sleep(uint32_t at_most_us) {
  uint32_t sleep_us = least(at_most_us, LONGEST_SLEEP_US);
  for (uint8_t i = 0; i < app->line_count; i++) sleep_us = least(sleep_us, quiet_us(&app->lines[i], &app->ports[i]));
  if (app->watchdog_ms > 0) sleep_us = least(sleep_us, app->watchdog_ms * 500u);
  if (sleep_us == 0) return;
  const uint32_t state = sl_hal_irq_off();
  bool waiting = false;
  for (uint8_t i = 0; i < SL_UART_COUNT; i++) waiting = waiting || sl_uart_waiting(i);
  if (!waiting) sl_hal_idle(sleep_us);
  sl_hal_irq_restore(state);
}

_Noreturn void sl_run(const sl_app *application) {
  sl_start(application);
  uint32_t called_us = sl_hal_now_us();
  if (app->loop != NULL) app->loop();
  for (;;) {
    sl_poll();
    uint32_t rest_us = LONGEST_SLEEP_US;
    if (app->loop != NULL) {
      const uint32_t since_us = sl_hal_now_us() - called_us;
      if (since_us >= app->loop_every_us) {
        called_us = sl_hal_now_us();
        app->loop();
      }
      if (app->loop_every_us > 0) rest_us = since_us >= app->loop_every_us ? 0 : app->loop_every_us - since_us;
    }
    sl_sleep(rest_us);
  }
}

static uint16_t pair(const uint8_t *bytes, uint32_t word) {
  return (uint16_t)((uint32_t)bytes[2u * word] << 8 | bytes[2u * word + 1u]);
}

static uint16_t uptime_word(uint16_t index) {
  const uint32_t seconds = sl_uptime_s();
  return (uint16_t)(index == SL_SYSTEM_UPTIME ? seconds >> 16 : seconds);
}

static uint16_t boot_word(uint16_t index) {
  if (app->boot_state != NULL) return app->boot_state((uint16_t)(index - SL_SYSTEM_SLOT));
  return index == SL_SYSTEM_SLOT ? 0xFFFFu : 0;
}

static uint16_t unique_id_word(uint16_t index) {
  uint8_t id[8];
  sl_hal_unique_id(id);
  return pair(id, (uint32_t)(index - SL_SYSTEM_UNIQUE_ID));
}

uint16_t sl_system_word(uint16_t index) {
  if (index >= SL_SYSTEM_UNIQUE_ID) return unique_id_word(index);
  const sl_modbus_port *first = &app->ports[0];
  switch (index) {
    case SL_SYSTEM_MAGIC:
      return 0x534Cu;
    case SL_SYSTEM_LAYOUT:
      return 1;
    case SL_SYSTEM_VERSION:
      return (uint16_t)((uint32_t)app->firmware->major << 8 | app->firmware->minor);
    case SL_SYSTEM_REVISION:
      return app->firmware->revision;
    case SL_SYSTEM_SLOT:
    case SL_SYSTEM_BOOT_STATE:
      return boot_word(index);
    case SL_SYSTEM_RESET:
      return (uint16_t)sl_hal_reset_reason();
    case SL_SYSTEM_UPTIME:
    case SL_SYSTEM_UPTIME + 1:
      return uptime_word(index);
    case SL_SYSTEM_MESSAGES:
      return first->rtu.counters.messages;
    case SL_SYSTEM_CRC_ERRORS:
      return first->rtu.counters.crc_errors;
    case SL_SYSTEM_OVERRUNS:
      return first->rtu.counters.overruns;
    case SL_SYSTEM_SERVED:
      return first->server.served;
    case SL_SYSTEM_EXCEPTIONS:
      return first->server.exceptions;
    default:
      return pair(app->firmware->model_hash, (uint32_t)(index - SL_SYSTEM_MODEL));
  }
}
