/**
 * From reset to an image: decides, waits a moment for somebody who wants to talk, writes the decision down, jumps.
 *
 * The watchdog is the bootloader's. It runs from here on, feeds while a large image is checked (over a second on a 16 MHz
 * Cortex-M0), and keeps running into the application: an image that hangs before it does anything is started again, and
 * after its attempts the other one is.
 */
#include "boot-keys.h"
#include "boot-note.h"
#include "choose.h"
#include "hal.h"
#include "layout.h"
#include "recovery.h"

/* Nothing below needs a second at a time but the signature: 1.5 s on the slowest board. RP2040 can count to 8.3 s. */
#ifndef SL_BOOT_WATCHDOG_MS
#define SL_BOOT_WATCHDOG_MS 8000u
#endif
/* An uploader that wants in sends packets while it resets the board. */
#define LISTEN_MS 100u
/* When the image is there and nobody talks, recovery is left again. */
#define RECOVERY_MS 10000u
#define CRASHES_MAX 3u

static const sl_boot_trust TRUST = {SL_BOOT_KEYS, sizeof SL_BOOT_KEYS / sizeof SL_BOOT_KEYS[0], SL_BOOT_PRODUCTION};

/* Takes over the note of the last run; true when that one asked for recovery or crashed again and again. */
static bool look_back(volatile uint32_t *note) {
  sl_reset_reason reason = sl_hal_reset_reason();
  bool kept = note[0] == SL_NOTE_MAGIC && reason != SL_RESET_POWER;
  bool crashed = reason == SL_RESET_WATCHDOG || reason == SL_RESET_LOCKUP;
  uint32_t crashes = kept && crashed ? note[SL_NOTE_CRASHES] + 1u : 0u;
  bool asked = kept && note[SL_NOTE_REQUEST] == SL_NOTE_RECOVERY;
  note[0] = SL_NOTE_MAGIC;
  note[SL_NOTE_STARTED] = 0xFFu;
  note[SL_NOTE_WHY] = 0;
  note[SL_NOTE_REQUEST] = 0;
  note[SL_NOTE_CRASHES] = crashes >= CRASHES_MAX ? 0u : crashes;
  return asked || crashes >= CRASHES_MAX;
}

int main(void) {
  volatile uint32_t *note = sl_hal_note();
  sl_boot_choice choice;
  bool wait = look_back(note);
  (void)sl_hal_watchdog_start(SL_BOOT_WATCHDOG_MS);
  sl_boot_choose(&sl_board_layout, &TRUST, &choice);
  if (choice.slot < 0) wait = true;
  /* The last resort ended in the bootloader before; somebody may want to help. */
  if (choice.slot >= 0 && choice.why[choice.slot] == SL_IMAGE_EXHAUSTED) wait = true;
  sl_boot_recover(&choice, &TRUST, wait ? RECOVERY_MS : LISTEN_MS);

  note[SL_NOTE_STARTED] = (uint32_t)choice.slot | (uint32_t)choice.mark << 8 | (uint32_t)choice.attempts << 16;
  note[SL_NOTE_WHY] = choice.why[0] | (uint32_t)choice.why[1] << 8;
  sl_hal_watchdog_feed();
  if (!sl_boot_commit(&sl_board_layout, &choice)) sl_hal_reset();
  sl_hal_jump(choice.vectors);
}
