#include "manage.h"

#include "boot-note.h"
#include "hal.h"
#include "layout.h"
#include "runtime.h"
#include "smp-tunnel.h"

/* A line at 1200 baud needs half of this for the longest answer. */
#define RESET_AFTER_US 5000000u
#define RESET_QUIET_US 100000u
/* What runs for a minute has come up; a crash after that is another story (boot-note.h). */
#define SETTLED_US 60000000u
/* What is on trial and was not confirmed by then starts over; three times, and the image before it runs again. Long
   enough for a gateway that restarts just now, and it may ask for more. */
#ifndef SL_TRIAL_S
#define SL_TRIAL_S 180u
#endif

static sl_smp smp;
static sl_smp_tunnel tunnel;
static uint32_t asked_at;
static uint32_t started_at;
static uint32_t trial_end_s;
static bool settled;
static bool on_trial;

void sl_manage_start(const uint8_t *model_hash) {
  sl_smp_start(&smp, &sl_board_layout, sl_boot_slot(), false);
  smp.model_hash = model_hash;
  sl_smp_tunnel_start(&tunnel, &smp);
  started_at = sl_hal_now_us();
  settled = false;
  on_trial = sl_boot_slot() >= 0 && (sl_boot_word(1) & 0xFu) == SL_MARK_PENDING;
  trial_end_s = sl_uptime_s() + SL_TRIAL_S;
}

/*
 * An image may run and yet never answer: nobody can reach it then, and no watchdog bites. So it has to be confirmed in
 * time, by somebody who got answers from it. Requests alone do not count: it may hear and not speak.
 */
static void watch_trial(void) {
  if (!on_trial) return;
  if (smp.trial_s != 0) trial_end_s = sl_uptime_s() + smp.trial_s;
  smp.trial_s = 0;
  if (smp.confirmed) on_trial = false;
  if (!on_trial || sl_uptime_s() < trial_end_s) return;
  /* The only image there is stays, healthy or not. */
  if (sl_slot_fallback(&sl_board_layout, (unsigned)sl_boot_slot())) sl_hal_reset();
  on_trial = false;
}

size_t sl_manage_user(const uint8_t *in, size_t size, uint8_t *out, size_t room) {
  size_t length = sl_smp_tunnel_serve(&tunnel, in, size, out, room);
  if (smp.reset_wanted) asked_at = sl_hal_now_us();
  return length;
}

size_t sl_manage_serve(const uint8_t *request, size_t size, uint8_t *answer, size_t room) {
  size_t length = sl_smp_serve(&smp, request, size, answer, room);
  if (smp.reset_wanted) asked_at = sl_hal_now_us();
  return length;
}

void sl_manage_loop(void) {
  uint32_t now = sl_hal_now_us();
  if (!settled && now - started_at >= SETTLED_US) {
    sl_boot_settled();
    settled = true;
  }
  watch_trial();
  if (!smp.reset_wanted) return;
  uint32_t since = now - asked_at;
  if (since < RESET_QUIET_US) return;
  for (uint8_t line = 0; line < SL_UART_COUNT && since < RESET_AFTER_US; line++) {
    if (!sl_hal_uart_drained(line)) return;
  }
  sl_hal_reset();
}
