#include "manage-line.h"

#include "manage.h"
#include "smp-console.h"
#include "smp.h"
#include "uart.h"

#define PAUSE_US 1000000u

static uint8_t request[SL_SMP_MAX + 4u];
static uint8_t answer[SL_SMP_MAX];
static uint8_t wire[SL_SMP_CONSOLE_MAX(SL_SMP_MAX)];
static sl_smp_console console;
static uint8_t port;
static bool open;

void sl_manage_line_start(uint8_t uart, const sl_uart_line *line) {
  port = uart;
  open = sl_uart_open(uart, line, sl_uart_t35_us(line->baud), PAUSE_US);
  sl_smp_console_start(&console, request, sizeof request);
}

void sl_manage_line_loop(void) {
  if (!open || sl_uart_sending(port)) return;
  int32_t entry;
  while ((entry = sl_uart_read(port)) >= 0) {
    if (((uint32_t)entry & SL_UART_DAMAGED) != 0) sl_smp_console_start(&console, request, sizeof request);
    const size_t size = sl_smp_console_push(&console, (uint8_t)entry);
    if (size == 0) continue;
    const size_t length = sl_manage_serve(request + 2, size, answer, sizeof answer);
    if (length == 0) continue;
    sl_uart_send(port, wire, sl_smp_console_encode(answer, length, wire, sizeof wire));
    return;
  }
}
