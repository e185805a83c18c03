/**
 * The subset of CBOR (RFC 8949) that SMP and telemetry need: integers, byte and text strings, arrays, maps, booleans,
 * null and single floats. Writing uses definite lengths; reading also takes indefinite arrays and maps, as some clients send
 * them. No recursion, nothing is copied: strings point into the input.
 */
#ifndef SL_CBOR_H
#define SL_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *at;
  const uint8_t *end;
  bool full; /* something did not fit; nothing is written from then on */
} sl_cbor_out;

void sl_cbor_uint(sl_cbor_out *out, uint32_t value);
void sl_cbor_int(sl_cbor_out *out, int32_t value);
void sl_cbor_bytes(sl_cbor_out *out, const void *bytes, size_t size);
void sl_cbor_text(sl_cbor_out *out, const char *text);
/** Followed by `count` items, or twice as many for a map. */
void sl_cbor_array(sl_cbor_out *out, uint32_t count);
void sl_cbor_map(sl_cbor_out *out, uint32_t count);
void sl_cbor_bool(sl_cbor_out *out, bool value);
/** An entry of a map: a name, and a number or a truth. */
void sl_cbor_named_uint(sl_cbor_out *out, const char *name, uint32_t value);
void sl_cbor_named_bool(sl_cbor_out *out, const char *name, bool value);
void sl_cbor_null(sl_cbor_out *out);
/** `bits` are those of an IEEE 754 single. */
void sl_cbor_float(sl_cbor_out *out, uint32_t bits);

typedef enum {
  SL_CBOR_UINT,
  SL_CBOR_NEGATIVE, /* the value is -1 - number */
  SL_CBOR_BYTES,
  SL_CBOR_TEXT,
  SL_CBOR_ARRAY,
  SL_CBOR_MAP,
  SL_CBOR_BOOL,
  SL_CBOR_NULL,
  SL_CBOR_FLOAT,
  SL_CBOR_BREAK /* ends an indefinite array or map */
} sl_cbor_kind;

/** As `number` of an array or map: it goes on until a break. */
#define SL_CBOR_INDEFINITE 0xFFFFFFFFu

typedef struct {
  sl_cbor_kind kind;
  uint32_t number;      /* value, size of a string, count of entries, bits of a float */
  const uint8_t *bytes; /* of a string */
} sl_cbor_item;

typedef struct {
  const uint8_t *at;
  const uint8_t *end;
} sl_cbor_in;

/** Reads the next head, with the content of a string. False: broken, beyond the subset, or at the end. */
bool sl_cbor_next(sl_cbor_in *in, sl_cbor_item *item);

/** Steps over what an item that was just read contains. False: broken, or nested deeper than 8. */
bool sl_cbor_skip(sl_cbor_in *in, const sl_cbor_item *item);

/** Whether a text is this one. */
bool sl_cbor_is(const sl_cbor_item *item, const char *text);

#endif
