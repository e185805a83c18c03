#include "cbor.h"

#include "bytes.h"
#include "memory.h"

enum { MAJOR_UINT = 0, MAJOR_NEGATIVE = 1, MAJOR_BYTES = 2, MAJOR_TEXT = 3, MAJOR_ARRAY = 4, MAJOR_MAP = 5, MAJOR_OTHER = 7 };
enum { DEPTH_MAX = 8 };

static void put(sl_cbor_out *out, const void *bytes, size_t size) {
  if (out->full || (size_t)(out->end - out->at) < size) {
    out->full = true;
    return;
  }
  if (size != 0) memcpy(out->at, bytes, size);
  out->at += size;
}

static void head(sl_cbor_out *out, unsigned major, uint32_t value) {
  uint8_t bytes[5];
  size_t size = 1;
  unsigned info = value;
  if (value > 0xFFFFu) {
    sl_put_be32(bytes + 1, value);
    info = 26;
    size = 5;
  } else if (value > 0xFFu) {
    sl_put_be16(bytes + 1, (uint16_t)value);
    info = 25;
    size = 3;
  } else if (value > 23u) {
    bytes[1] = (uint8_t)value;
    info = 24;
    size = 2;
  }
  bytes[0] = (uint8_t)(major << 5 | info);
  put(out, bytes, size);
}

void sl_cbor_uint(sl_cbor_out *out, uint32_t value) {
  head(out, MAJOR_UINT, value);
}

void sl_cbor_int(sl_cbor_out *out, int32_t value) {
  if (value >= 0) head(out, MAJOR_UINT, (uint32_t)value);
  else head(out, MAJOR_NEGATIVE, ~(uint32_t)value);
}

void sl_cbor_bytes(sl_cbor_out *out, const void *bytes, size_t size) {
  head(out, MAJOR_BYTES, (uint32_t)size);
  put(out, bytes, size);
}

void sl_cbor_text(sl_cbor_out *out, const char *text) {
  size_t size = 0;
  while (text[size] != '\0') size++;
  head(out, MAJOR_TEXT, (uint32_t)size);
  put(out, text, size);
}

void sl_cbor_array(sl_cbor_out *out, uint32_t count) {
  head(out, MAJOR_ARRAY, count);
}

void sl_cbor_map(sl_cbor_out *out, uint32_t count) {
  head(out, MAJOR_MAP, count);
}

void sl_cbor_bool(sl_cbor_out *out, bool value) {
  head(out, MAJOR_OTHER, value ? 21u : 20u);
}

void sl_cbor_named_uint(sl_cbor_out *out, const char *name, uint32_t value) {
  sl_cbor_text(out, name);
  sl_cbor_uint(out, value);
}

void sl_cbor_named_bool(sl_cbor_out *out, const char *name, bool value) {
  sl_cbor_text(out, name);
  sl_cbor_bool(out, value);
}

void sl_cbor_null(sl_cbor_out *out) {
  head(out, MAJOR_OTHER, 22u);
}

void sl_cbor_float(sl_cbor_out *out, uint32_t bits) {
  uint8_t bytes[5] = {MAJOR_OTHER << 5 | 26};
  sl_put_be32(bytes + 1, bits);
  put(out, bytes, sizeof bytes);
}

/* Reads the argument of a head. False when it is missing or needs more than 32 bits. */
static bool argument(sl_cbor_in *in, unsigned info, uint32_t *value) {
  size_t left = (size_t)(in->end - in->at);
  size_t size = info < 24u ? 0u : info == 24u ? 1u : info == 25u ? 2u : info == 26u ? 4u : info == 27u ? 8u : 9u;
  if (size > left || size == 9u) return false;
  if (size == 0) *value = info;
  else if (size == 1) *value = in->at[0];
  else if (size == 2) *value = sl_get_be16(in->at);
  else if (size == 4) *value = sl_get_be32(in->at);
  else if (sl_get_be32(in->at) != 0) return false;
  else *value = sl_get_be32(in->at + 4);
  in->at += size;
  return true;
}

bool sl_cbor_next(sl_cbor_in *in, sl_cbor_item *item) {
  if (in->at >= in->end) return false;
  unsigned major = (unsigned)*in->at >> 5;
  unsigned info = *in->at++ & 31u;
  item->bytes = NULL;
  item->number = 0;
  if (major == MAJOR_OTHER) {
    if (info == 31u) item->kind = SL_CBOR_BREAK;
    else if (info == 22u || info == 23u) item->kind = SL_CBOR_NULL;
    else if (info == 20u || info == 21u) {
      item->kind = SL_CBOR_BOOL;
      item->number = info - 20u;
    } else if (info == 26u) {
      item->kind = SL_CBOR_FLOAT;
      return argument(in, info, &item->number);
    } else return false;
    return true;
  }
  if (info == 31u) {
    if (major != MAJOR_ARRAY && major != MAJOR_MAP) return false;
    item->number = SL_CBOR_INDEFINITE;
  } else if (!argument(in, info, &item->number)) return false;
  switch (major) {
    case MAJOR_UINT: item->kind = SL_CBOR_UINT; return true;
    case MAJOR_NEGATIVE: item->kind = SL_CBOR_NEGATIVE; return true;
    case MAJOR_ARRAY: item->kind = SL_CBOR_ARRAY; break;
    case MAJOR_MAP: item->kind = SL_CBOR_MAP; break;
    case MAJOR_BYTES:
    case MAJOR_TEXT:
      item->kind = major == MAJOR_BYTES ? SL_CBOR_BYTES : SL_CBOR_TEXT;
      if (item->number > (size_t)(in->end - in->at)) return false;
      item->bytes = in->at;
      in->at += item->number;
      return true;
    default: return false; /* tags */
  }
  /* A count that the input cannot hold is a lie; believing it would only cost time. */
  return info == 31u || item->number <= (size_t)(in->end - in->at);
}

bool sl_cbor_skip(sl_cbor_in *in, const sl_cbor_item *item) {
  uint32_t open[DEPTH_MAX];
  unsigned depth = 0;
  sl_cbor_item inner = *item;
  for (;;) {
    if (inner.kind == SL_CBOR_ARRAY || inner.kind == SL_CBOR_MAP) {
      if (depth == DEPTH_MAX) return false;
      bool doubled = inner.kind == SL_CBOR_MAP && inner.number != SL_CBOR_INDEFINITE;
      open[depth++] = doubled ? inner.number * 2u : inner.number;
    } else if (inner.kind == SL_CBOR_BREAK) {
      if (depth == 0 || open[depth - 1u] != SL_CBOR_INDEFINITE) return false;
      depth--;
    }
    while (depth > 0 && open[depth - 1u] == 0) depth--;
    if (depth == 0) return true;
    if (open[depth - 1u] != SL_CBOR_INDEFINITE) open[depth - 1u]--;
    if (!sl_cbor_next(in, &inner)) return false;
  }
}

bool sl_cbor_is(const sl_cbor_item *item, const char *text) {
  if (item->kind != SL_CBOR_TEXT) return false;
  for (uint32_t i = 0; i < item->number; i++) {
    if (text[i] == '\0' || (uint8_t)text[i] != item->bytes[i]) return false;
  }
  return text[item->number] == '\0';
}
