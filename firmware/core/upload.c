/* What a slot's trailer remembers of an upload, so that it goes on where it was after either side restarts. */
#include "bytes.h"
#include "crc32.h"
#include "hal.h"
#include "marks.h"
#include "memory.h"
#include "slots.h"

/* "UPLD" */
#define MAGIC 0x444C5055u
enum { RECORD_SIZE = 44, CRC_AT = 40, VOID_AT = 0x2C };

static uint32_t trailer(const sl_layout *layout, unsigned slot) {
  return layout->slot[slot] + layout->slot_size - layout->page;
}

bool sl_upload_begin(const sl_layout *layout, unsigned slot, uint32_t total, const uint8_t digest[32]) {
  _Alignas(4) uint8_t record[RECORD_SIZE]; /* flash wants words */
  sl_put_le32(record, MAGIC);
  sl_put_le32(record + 4, total);
  memcpy(record + 8, digest, 32);
  sl_put_le32(record + CRC_AT, sl_crc32(0, record, CRC_AT));
  return sl_hal_flash_program(trailer(layout, slot), record, RECORD_SIZE);
}

bool sl_upload_resume(const sl_layout *layout, unsigned slot, uint32_t *total, uint8_t digest[32], uint32_t *done) {
  uint32_t at = trailer(layout, slot);
  uint8_t record[RECORD_SIZE];
  if (!sl_hal_flash_read(at, record, sizeof record) || !sl_mark_blank(at + VOID_AT, 4)) return false;
  if (sl_get_le32(record) != MAGIC || sl_get_le32(record + CRC_AT) != sl_crc32(0, record, CRC_AT)) return false;
  *total = sl_get_le32(record + 4);
  memcpy(digest, record + 8, 32);
  *done = 0;
  at += SL_TRAILER_PROGRESS;
  while (*done < *total && *done < sl_slot_room(layout) && !sl_mark_blank(at, 4)) {
    at += 4u;
    *done += layout->page;
  }
  return *total <= sl_slot_room(layout);
}

bool sl_upload_page_done(const sl_layout *layout, unsigned slot, uint32_t page_index) {
  return sl_mark_tick(trailer(layout, slot) + SL_TRAILER_PROGRESS + 4u * page_index);
}

bool sl_upload_void(const sl_layout *layout, unsigned slot) {
  uint32_t at = trailer(layout, slot) + VOID_AT;
  return !sl_mark_blank(at, 4) || sl_mark_tick(at);
}
