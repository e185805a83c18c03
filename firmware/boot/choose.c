#include "choose.h"

#include "../core/hal.h"

static sl_image_status content(const sl_image *image, const sl_boot_trust *trust) {
  sl_image_status status = sl_image_check_digest(image);
  return status == SL_IMAGE_OK ? sl_image_check_signature(image, trust->keys, trust->key_count, trust->production) : status;
}

void sl_boot_choose(const sl_layout *layout, const sl_boot_trust *trust, sl_boot_choice *choice) {
  sl_slot_view view[SL_SLOTS];
  choice->slot = -1;
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    sl_slot_look(layout, slot, &view[slot]);
    choice->why[slot] = (uint8_t)view[slot].status;
    if (view[slot].status == SL_IMAGE_OK && view[slot].mark == SL_MARK_EXHAUSTED) choice->why[slot] = SL_IMAGE_EXHAUSTED;
  }
  for (int place = 0; place < (int)SL_SLOTS; place++) {
    int slot = sl_slots_order(view, place);
    if (slot < 0) break;
    sl_image_status status = content(&view[slot].image, trust);
    sl_hal_watchdog_feed();
    if (status != SL_IMAGE_OK) {
      choice->why[slot] = (uint8_t)status;
      continue;
    }
    choice->slot = slot;
    choice->vectors = view[slot].image.address + view[slot].image.header_size;
    choice->mark = view[slot].mark;
    choice->attempts = (uint8_t)(view[slot].attempts + (view[slot].mark == SL_MARK_PENDING ? 1u : 0u));
    break;
  }
}

/* What only reading the whole image tells: shape and place are looked at anew in every boot and for every list. */
static bool of_content(uint8_t why) {
  return why >= SL_IMAGE_DIGEST && why <= SL_IMAGE_SIGNATURE;
}

void sl_boot_tell(const sl_boot_choice *choice, sl_smp *smp) {
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    if ((int)slot == choice->slot) smp->content[slot] = SL_SMP_SEEN | SL_IMAGE_OK;
    else if (of_content(choice->why[slot])) smp->content[slot] = SL_SMP_SEEN | choice->why[slot];
  }
}

void sl_boot_look(const sl_layout *layout, const sl_boot_trust *trust, sl_smp *smp) {
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    sl_slot_view view;
    if ((smp->content[slot] & SL_SMP_SEEN) != 0) continue;
    sl_slot_look(layout, slot, &view);
    if (view.status == SL_IMAGE_OK) smp->content[slot] = (uint8_t)(SL_SMP_SEEN | content(&view.image, trust));
    sl_hal_watchdog_feed();
  }
}

bool sl_boot_commit(const sl_layout *layout, const sl_boot_choice *choice) {
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    /* Only what took a second to find out is worth a note. */
    uint8_t why = choice->why[slot];
    if (of_content(why)) sl_slot_refuse(layout, slot, (sl_image_status)why);
  }
  if (choice->slot < 0) return false;
  if (choice->mark == SL_MARK_PENDING) return sl_slot_count_attempt(layout, (unsigned)choice->slot);
  if (choice->mark == SL_MARK_CONFIRMED) {
    sl_slot_view view;
    sl_slot_look(layout, (unsigned)choice->slot, &view);
    if (view.status == SL_IMAGE_OK) (void)sl_counter_raise(layout, view.image.security_counter);
  }
  return true;
}
