#include "recovery.h"

#include "hal.h"
#include "layout.h"
#include "smp-console.h"
#include "smp.h"
#include "uart.h"

#ifndef SL_BOOT_BAUD
#define SL_BOOT_BAUD 115200u
#endif
/* Nobody sends packets this far apart. */
#define SILENCE_MS 10000u
#define NAP_US 2000u

static uint8_t request[SL_SMP_MAX + 4u];
static uint8_t answer[SL_SMP_MAX];
static uint8_t wire[SL_SMP_CONSOLE_MAX(SL_SMP_MAX)];
static sl_smp smp;
static sl_smp_console console;

/* Everything that came in is served; true when a packet was among it. */
static bool serve(const sl_boot_trust *trust) {
  bool served = false;
  int32_t entry;
  while ((entry = sl_uart_read(0)) >= 0) {
    if (((uint32_t)entry & SL_UART_DAMAGED) != 0) sl_smp_console_start(&console, request, sizeof request);
    size_t size = sl_smp_console_push(&console, (uint8_t)entry);
    if (size == 0) continue;
    if (sl_smp_lists(request + 2, size)) sl_boot_look(&sl_board_layout, trust, &smp);
    size_t length = sl_smp_serve(&smp, request + 2, size, answer, sizeof answer);
    if (length == 0) continue;
    served = true;
    sl_uart_send(0, wire, sl_smp_console_encode(answer, length, wire, sizeof wire));
    while (sl_uart_sending(0)) sl_hal_watchdog_feed();
    if (!smp.reset_wanted) continue;
    while (!sl_hal_uart_drained(0)) sl_hal_watchdog_feed();
    sl_hal_reset();
  }
  return served;
}

void sl_boot_recover(const sl_boot_choice *choice, const sl_boot_trust *trust, uint32_t patience_ms) {
  const sl_uart_line line = {SL_BOOT_BAUD, SL_PARITY_NONE, 1};
  uint32_t since = sl_hal_now_us();
  uint32_t patience_us = patience_ms * 1000u;
  if (!sl_uart_open(0, &line, sl_uart_t35_us(line.baud), 1000000u)) return;
  sl_smp_console_start(&console, request, sizeof request);
  /* What would be started is what an upload leaves alone. */
  sl_smp_start(&smp, &sl_board_layout, choice->slot, true);
  sl_boot_tell(choice, &smp);
  while (choice->slot < 0 || sl_hal_now_us() - since < patience_us) {
    sl_hal_watchdog_feed();
    if (serve(trust)) {
      since = sl_hal_now_us();
      patience_us = SILENCE_MS * 1000u;
    }
    uint32_t state = sl_hal_irq_off();
    if (!sl_uart_waiting(0)) sl_hal_idle(NAP_US);
    sl_hal_irq_restore(state);
  }
  /* Somebody may have taken away what was chosen: only a new look tells. */
  if (patience_us != patience_ms * 1000u) sl_hal_reset();
}
