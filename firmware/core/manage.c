#include "manage.h"

#include "boot-note.h"
#include "hal.h"
#include "layout.h"
#include "smp-tunnel.h"

/* A line at 1200 baud needs half of this for the longest answer. */
#define RESET_AFTER_US 5000000u
#define RESET_QUIET_US 100000u
/* What runs for a minute has come up; a crash after that is another story (boot-note.h). */
#define SETTLED_US 60000000u

static sl_smp smp;
static sl_smp_tunnel tunnel;
static uint32_t asked_at;
static uint32_t started_at;
static bool settled;

void sl_manage_start(const uint8_t *model_hash) {
  sl_smp_start(&smp, &sl_board_layout, sl_boot_slot(), false);
  smp.model_hash = model_hash;
  sl_smp_tunnel_start(&tunnel, &smp);
  started_at = sl_hal_now_us();
  settled = false;
}

size_t sl_manage_user(const uint8_t *in, size_t size, uint8_t *out, size_t room) {
  size_t length = sl_smp_tunnel_serve(&tunnel, in, size, out, room);
  if (smp.reset_wanted) asked_at = sl_hal_now_us();
  return length;
}

void sl_manage_loop(void) {
  uint32_t now = sl_hal_now_us();
  if (!settled && now - started_at >= SETTLED_US) {
    sl_boot_settled();
    settled = true;
  }
  if (!smp.reset_wanted) return;
  uint32_t since = now - asked_at;
  if (since < RESET_QUIET_US) return;
  for (uint8_t line = 0; line < SL_UART_COUNT && since < RESET_AFTER_US; line++) {
    if (!sl_hal_uart_drained(line)) return;
  }
  sl_hal_reset();
}
