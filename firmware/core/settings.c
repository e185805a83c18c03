#include "settings.h"

#include "bytes.h"
#include "crc32.h"
#include "hal.h"
#include "marks.h"
#include "memory.h"

/* "SETS". The size of a removal is one that no value has. */
#define MAGIC 0x53544553u
enum { BANK_HEADER = 16, RECORD_HEADER = 8, REMOVED = 0xFE };

typedef struct {
  uint32_t at;
  uint16_t key;
  uint8_t size; /* or REMOVED */
  uint32_t crc;
} record;

static uint32_t bank_at(const sl_settings *log, unsigned bank) {
  return log->address + bank * log->bank_size;
}

static uint32_t value_size(const record *r) {
  return r->size == REMOVED ? 0u : r->size;
}

static uint32_t record_size(uint32_t size) {
  return RECORD_HEADER + ((size + 3u) & ~3u);
}

static uint32_t crc_of(uint32_t head_at, uint32_t size) {
  uint8_t bytes[SL_SETTINGS_VALUE_MAX];
  if (!sl_hal_flash_read(head_at, bytes, 4)) return 0;
  uint32_t crc = sl_crc32(0, bytes, 4);
  if (size != 0 && !sl_hal_flash_read(head_at + RECORD_HEADER, bytes, size)) return 0;
  return sl_crc32(crc, bytes, size);
}

/* Reads the record at `*at` and moves behind it. False at the end of the log; `*at` is then where it ends, or 0 when a
   torn head hides where the next record would go. */
static bool next(uint32_t *at, uint32_t limit, record *r) {
  uint8_t head[RECORD_HEADER];
  if (limit - *at < RECORD_HEADER || !sl_hal_flash_read(*at, head, sizeof head)) return false;
  if (sl_mark_blank(*at, RECORD_HEADER)) return false;
  r->at = *at;
  r->key = sl_get_le16(head);
  r->size = head[2];
  bool readable = (unsigned)head[2] + head[3] == 0xFFu && (r->size <= SL_SETTINGS_VALUE_MAX || r->size == REMOVED);
  if (!readable || record_size(value_size(r)) > limit - *at) {
    *at = 0;
    return false;
  }
  r->crc = sl_get_le32(head + 4);
  *at += record_size(value_size(r));
  return true;
}

/* Looked at only where it matters: a pass over the log would otherwise spend its time on records of other keys. */
static bool intact(const record *r) {
  return r->crc == crc_of(r->at, value_size(r));
}

/* The record of a key that counts. False: there is none, or it was removed. */
static bool find(const sl_settings *log, uint16_t key, record *found) {
  if (log->sequence == 0) return false;
  uint32_t at = bank_at(log, log->active) + BANK_HEADER;
  uint32_t limit = bank_at(log, log->active) + log->bank_size;
  bool there = false;
  record r;
  while (next(&at, limit, &r)) {
    if (r.key != key || !intact(&r)) continue;
    *found = r;
    there = r.size != REMOVED;
  }
  return there;
}

void sl_settings_open(sl_settings *log) {
  log->active = 0;
  log->sequence = 0;
  log->end = 0;
  for (unsigned bank = 0; bank < log->banks; bank++) {
    uint8_t head[BANK_HEADER];
    if (!sl_hal_flash_read(bank_at(log, bank), head, sizeof head)) continue;
    uint32_t sequence = sl_get_le32(head + 4);
    if (sl_get_le32(head) != MAGIC || sl_get_le32(head + 8) != ~sequence) continue;
    if (sl_get_le32(head + 12) != sl_crc32(0, head, 12) || sequence <= log->sequence) continue;
    log->sequence = sequence;
    log->active = (uint8_t)bank;
  }
  if (log->sequence == 0) return;
  uint32_t limit = bank_at(log, log->active) + log->bank_size;
  uint32_t at = bank_at(log, log->active) + BANK_HEADER;
  record r;
  while (next(&at, limit, &r)) {
  }
  /* Behind the last record everything has to be blank: the value of a torn one may have been written before its head. */
  log->end = at != 0 && sl_mark_blank(at, limit - at) ? at : 0;
}

int32_t sl_settings_get(const sl_settings *log, uint16_t key, void *value, size_t room) {
  record r;
  if (!find(log, key, &r)) return -1;
  size_t size = r.size < room ? r.size : room;
  if (size != 0 && !sl_hal_flash_read(r.at + RECORD_HEADER, value, (uint32_t)size)) return -1;
  return r.size;
}

/* Writes a record and reads it back. */
static bool append(uint32_t at, uint16_t key, uint8_t size, const void *value) {
  _Alignas(4) uint8_t image[RECORD_HEADER + SL_SETTINGS_VALUE_MAX]; /* flash wants words */
  uint32_t bytes = size == REMOVED ? 0u : size;
  memset(image, 0xFF, sizeof image);
  sl_put_le16(image, key);
  image[2] = size;
  image[3] = size ^ 0xFFu;
  if (bytes != 0) memcpy(image + RECORD_HEADER, value, bytes);
  uint32_t crc = sl_crc32(sl_crc32(0, image, 4), image + RECORD_HEADER, bytes);
  sl_put_le32(image + 4, crc);
  if (!sl_hal_flash_program(at, image, record_size(bytes))) return false;
  return crc_of(at, bytes) == crc && sl_mark_blank(at, RECORD_HEADER) == false;
}

/* Copies what counts, except `key`, to the next bank and opens that, with the new record in it. */
static sl_settings_status compact(sl_settings *log, uint16_t key, uint8_t size, const void *value) {
  unsigned target = log->sequence == 0 ? 0u : (unsigned)(log->active + 1u) % log->banks;
  uint32_t from = bank_at(log, log->active) + BANK_HEADER;
  uint32_t from_limit = bank_at(log, log->active) + log->bank_size;
  uint32_t to = bank_at(log, target);
  uint32_t limit = to + log->bank_size;
  uint32_t needed = BANK_HEADER + (size == REMOVED ? 0u : record_size(size));
  record r;
  record last;
  for (uint32_t at = from; log->sequence != 0 && next(&at, from_limit, &r);) {
    if (r.key != key && find(log, r.key, &last) && last.at == r.at) needed += record_size(r.size);
  }
  if (needed > log->bank_size) return SL_SETTINGS_FULL;

  if (!sl_hal_flash_erase(to, log->bank_size)) return SL_SETTINGS_FLASH;
  uint32_t end = to + BANK_HEADER;
  for (uint32_t at = from; log->sequence != 0 && next(&at, from_limit, &r);) {
    uint8_t copy[SL_SETTINGS_VALUE_MAX];
    if (r.key == key || !find(log, r.key, &last) || last.at != r.at) continue;
    if (!sl_hal_flash_read(r.at + RECORD_HEADER, copy, r.size)) return SL_SETTINGS_FLASH;
    if (!append(end, r.key, r.size, copy)) return SL_SETTINGS_FLASH;
    end += record_size(r.size);
  }
  if (size != REMOVED) {
    if (limit - end < record_size(size) || !append(end, key, size, value)) return SL_SETTINGS_FLASH;
    end += record_size(size);
  }
  _Alignas(4) uint8_t head[BANK_HEADER];
  sl_put_le32(head, MAGIC);
  sl_put_le32(head + 4, log->sequence + 1u);
  sl_put_le32(head + 8, ~(log->sequence + 1u));
  sl_put_le32(head + 12, sl_crc32(0, head, 12));
  if (!sl_hal_flash_program(to, head, sizeof head)) return SL_SETTINGS_FLASH;
  log->active = (uint8_t)target;
  log->sequence++;
  log->end = end;
  return SL_SETTINGS_OK;
}

static sl_settings_status change(sl_settings *log, uint16_t key, uint8_t size, const void *value) {
  uint32_t needed = record_size(size == REMOVED ? 0u : size);
  if (log->sequence != 0 && log->end != 0 && bank_at(log, log->active) + log->bank_size - log->end >= needed) {
    uint32_t at = log->end;
    if (append(at, key, size, value)) {
      log->end = at + needed;
      return SL_SETTINGS_OK;
    }
    log->end = 0; /* worn out or torn here: the next bank may do better */
  }
  return compact(log, key, size, value);
}

sl_settings_status sl_settings_set(sl_settings *log, uint16_t key, const void *value, size_t size) {
  uint8_t known[SL_SETTINGS_VALUE_MAX];
  if (size > SL_SETTINGS_VALUE_MAX || key == 0xFFFFu) return SL_SETTINGS_TOO_LONG;
  if (sl_settings_get(log, key, known, sizeof known) == (int32_t)size && (size == 0 || memcmp(known, value, size) == 0)) {
    return SL_SETTINGS_OK;
  }
  return change(log, key, (uint8_t)size, value);
}

sl_settings_status sl_settings_remove(sl_settings *log, uint16_t key) {
  record r;
  return find(log, key, &r) ? change(log, key, REMOVED, NULL) : SL_SETTINGS_OK;
}
