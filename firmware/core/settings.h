/**
 * Small values that survive power cuts, in a log that wanders through the flash: each change is appended, the last record
 * of a key counts. When a bank is full, what counts is copied to the next one, whose header is written last: until then
 * the old bank is the one that counts.
 *
 *   bank      magic, sequence, its complement, CRC-32 of these          16 bytes, then records
 *   record    key (2 bytes), size, its complement, CRC-32 of these four bytes and the value, the value, filled up to words
 *
 * The size beside its complement is believed even where the value is torn, so that a cut costs the record that was being
 * written and nothing else.
 */
#ifndef SL_SETTINGS_H
#define SL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_SETTINGS_VALUE_MAX 64u

typedef enum {
  SL_SETTINGS_OK = 0,
  SL_SETTINGS_FULL = 1, /* the values that count would not fit with this one; nothing was changed */
  SL_SETTINGS_TOO_LONG = 2, /* longer than SL_SETTINGS_VALUE_MAX, or key 0xFFFF */
  SL_SETTINGS_FLASH = 3 /* the flash did not take it */
} sl_settings_status;

typedef struct {
  uint32_t address;   /* of the first bank; a multiple of a page */
  uint32_t bank_size; /* a multiple of a page */
  uint8_t banks;      /* at least 2 */
  /* Kept by the log. */
  uint8_t active;
  uint32_t sequence; /* of the active bank; 0: there is none yet */
  uint32_t end;      /* where the next record goes; 0: only after compaction */
} sl_settings;

/** Finds the bank that counts; `address`, `bank_size` and `banks` are set. Writes nothing. */
void sl_settings_open(sl_settings *log);

/** Copies at most `room` bytes of a value; gives its length, or -1 when it was never set or was removed. */
int32_t sl_settings_get(const sl_settings *log, uint16_t key, void *value, size_t room);

/** Sets a value. What was there before stays until this one is whole. An equal value is not written again. */
sl_settings_status sl_settings_set(sl_settings *log, uint16_t key, const void *value, size_t size);

sl_settings_status sl_settings_remove(sl_settings *log, uint16_t key);

#endif
