#include "boot-note.h"

static bool noted(void) {
  return sl_hal_note()[0] == SL_NOTE_MAGIC;
}

int sl_boot_slot(void) {
  uint32_t slot = sl_hal_note()[SL_NOTE_STARTED] & 0xFFu;
  return noted() && slot < 2u ? (int)slot : -1;
}

uint16_t sl_boot_word(uint16_t which) {
  int slot = sl_boot_slot();
  if (which == 0) return slot < 0 ? 0xFFFFu : (uint16_t)slot;
  if (slot < 0) return 0;
  uint32_t started = sl_hal_note()[SL_NOTE_STARTED];
  uint32_t why = sl_hal_note()[SL_NOTE_WHY] >> (slot == 0 ? 8u : 0u);
  return (uint16_t)(((started >> 8) & 0xFu) | ((started >> 16) & 0xFu) << 4 | (why & 0xFFu) << 8);
}

void sl_boot_settled(void) {
  if (noted()) sl_hal_note()[SL_NOTE_CRASHES] = 0;
}

_Noreturn void sl_boot_recovery(void) {
  sl_hal_note()[0] = SL_NOTE_MAGIC;
  sl_hal_note()[SL_NOTE_REQUEST] = SL_NOTE_RECOVERY;
  sl_hal_reset();
}
