#include "slots.h"

#include "bytes.h"
#include "hal.h"
#include "marks.h"
#include "memory.h"

enum { PENDING_AT = 0x40, CONFIRMED_AT = 0x60, ATTEMPTS_AT = 0x80, REFUSAL_AT = 0xA0, MARK_CELLS = 4, REFUSAL_CELLS = 2 };

/* Beside its complement like every number in a mark: "PEND". */
#define PENDING 0x444E4550u

static uint32_t trailer(const sl_layout *layout, unsigned slot) {
  return layout->slot[slot] + layout->slot_size - layout->page;
}

void sl_slot_look(const sl_layout *layout, unsigned slot, sl_slot_view *view) {
  uint32_t at = trailer(layout, slot);
  memset(view, 0, sizeof *view);
  view->status = sl_image_parse(&view->image, layout->slot[slot], sl_slot_room(layout));
  if (view->status == SL_IMAGE_OK) view->status = sl_image_admit(&view->image, layout->board, sl_counter_read(layout));
  view->confirmation = sl_mark_read(at + CONFIRMED_AT, MARK_CELLS);
  view->refusal = (uint8_t)sl_mark_read(at + REFUSAL_AT, REFUSAL_CELLS);
  while (view->attempts < SL_SLOT_ATTEMPTS && !sl_mark_blank(at + ATTEMPTS_AT + 4u * view->attempts, 4)) view->attempts++;
  if (view->confirmation != 0) view->mark = SL_MARK_CONFIRMED;
  else if (view->attempts >= SL_SLOT_ATTEMPTS) view->mark = SL_MARK_EXHAUSTED;
  else if (sl_mark_read(at + PENDING_AT, MARK_CELLS) == PENDING) view->mark = SL_MARK_PENDING;
}

/* Higher goes first; 0 is never started. A refusal weighs nothing on a confirmed image: it ran, and is looked at anew. */
static uint32_t rank(const sl_slot_view *view) {
  if (view->status != SL_IMAGE_OK) return 0;
  if (view->refusal != 0 && view->mark != SL_MARK_CONFIRMED) return 1u;
  switch (view->mark) {
    case SL_MARK_PENDING: return 0xFFFFFFFFu;
    case SL_MARK_CONFIRMED: return 2u + view->confirmation;
    case SL_MARK_NONE: return 2u;
    default: return 1u;
  }
}

int sl_slots_order(const sl_slot_view view[SL_SLOTS], int place) {
  unsigned first = rank(&view[1]) > rank(&view[0]) ? 1u : 0u;
  unsigned slot = place == 0 ? first : 1u - first;
  return place < (int)SL_SLOTS && rank(&view[slot]) != 0 ? (int)slot : -1;
}

bool sl_slot_count_attempt(const sl_layout *layout, unsigned slot) {
  uint32_t at = trailer(layout, slot) + ATTEMPTS_AT;
  for (unsigned i = 0; i < SL_SLOT_ATTEMPTS; i++, at += 4u) {
    if (sl_mark_blank(at, 4)) return sl_mark_tick(at);
  }
  return false;
}

void sl_slot_refuse(const sl_layout *layout, unsigned slot, sl_image_status why) {
  uint32_t at = trailer(layout, slot) + REFUSAL_AT;
  if (sl_mark_read(at, REFUSAL_CELLS) == 0) (void)sl_mark_write(at, REFUSAL_CELLS, (uint32_t)why);
}

bool sl_slot_writable(const sl_layout *layout, unsigned slot, int running) {
  sl_slot_view view;
  if (running < 0) return true;
  if ((unsigned)running == slot) return false;
  sl_slot_look(layout, (unsigned)running, &view);
  if (view.mark == SL_MARK_CONFIRMED || view.mark == SL_MARK_NONE) return true;
  /* What runs is on trial: the other one is kept, as long as it is an image at all. */
  sl_slot_look(layout, slot, &view);
  return view.status != SL_IMAGE_OK;
}

bool sl_slot_clear(const sl_layout *layout, unsigned slot) {
  /* The header first: from there on nothing can take the rest for an image. */
  return sl_hal_flash_erase(layout->slot[slot], layout->page) && sl_hal_flash_erase(trailer(layout, slot), layout->page);
}

sl_image_status sl_slot_request(const sl_layout *layout, unsigned slot, int running) {
  sl_slot_view view;
  sl_slot_look(layout, slot, &view);
  if (view.status != SL_IMAGE_OK) return view.status;
  if (view.mark == SL_MARK_EXHAUSTED) return SL_IMAGE_EXHAUSTED;
  /* It had its time, and a later one took its place; coming back takes an upload. */
  if (view.mark == SL_MARK_CONFIRMED) return (int)slot == running ? SL_IMAGE_OK : SL_IMAGE_DOWNGRADE;
  if (view.refusal != 0) return (sl_image_status)view.refusal;
  if (view.mark == SL_MARK_PENDING) return SL_IMAGE_OK;
  sl_version version = view.image.version;
  sl_image_status content = sl_image_check_digest(&view.image);
  if (content != SL_IMAGE_OK) return content;
  if (running >= 0) {
    sl_slot_look(layout, (unsigned)running, &view);
    if (sl_version_compare(&version, &view.image.version) < 0) return SL_IMAGE_DOWNGRADE;
  }
  return sl_mark_write(trailer(layout, slot) + PENDING_AT, MARK_CELLS, PENDING) ? SL_IMAGE_OK : SL_IMAGE_FLASH;
}

sl_image_status sl_slot_confirm(const sl_layout *layout, unsigned slot) {
  sl_slot_view view;
  sl_slot_look(layout, 1u - slot, &view);
  uint32_t other = view.confirmation;
  sl_slot_look(layout, slot, &view);
  if (view.status != SL_IMAGE_OK) return view.status;
  /* One more than the other's, so that this one is preferred from now on. The mark comes before the counter: should
     power go between them, the bootloader finds a confirmed image and raises the counter before it starts it. */
  if (view.confirmation <= other) {
    if (!sl_mark_write(trailer(layout, slot) + CONFIRMED_AT, MARK_CELLS, other + 1u)) return SL_IMAGE_FLASH;
  }
  return sl_counter_raise(layout, view.image.security_counter) ? SL_IMAGE_OK : SL_IMAGE_FLASH;
}

bool sl_slot_fallback(const sl_layout *layout, unsigned running) {
  sl_slot_view view;
  sl_slot_look(layout, 1u - running, &view);
  return rank(&view) > 1u;
}

sl_image_status sl_slot_revert(const sl_layout *layout, unsigned running) {
  unsigned slot = 1u - running;
  uint32_t total;
  uint32_t done;
  uint8_t digest[32];
  sl_slot_view view;
  sl_slot_look(layout, running, &view);
  uint32_t now = view.confirmation;
  bool trial = view.mark == SL_MARK_PENDING;
  sl_slot_look(layout, slot, &view);
  if (view.status != SL_IMAGE_OK) return view.status;
  if (view.mark != SL_MARK_CONFIRMED) {
    /* One that was uploaded and never confirmed has nothing to show; one without any mark was flashed, and ran. */
    if (view.mark != SL_MARK_NONE || sl_upload_resume(layout, slot, &total, digest, &done)) return SL_IMAGE_EXHAUSTED;
    if (view.refusal != 0) return (sl_image_status)view.refusal;
  }
  sl_image_status content = sl_image_check_digest(&view.image);
  if (content != SL_IMAGE_OK) return content;
  if (trial) {
    /* It was never confirmed: without attempts it comes after every other one. */
    while (sl_slot_count_attempt(layout, running)) continue;
    sl_slot_look(layout, running, &view);
    return view.mark == SL_MARK_EXHAUSTED ? SL_IMAGE_OK : SL_IMAGE_FLASH;
  }
  if (view.confirmation > now) return SL_IMAGE_OK; /* it was asked for already */
  return sl_mark_write(trailer(layout, slot) + CONFIRMED_AT, MARK_CELLS, now + 1u) ? SL_IMAGE_OK : SL_IMAGE_FLASH;
}
