#include "cobs.h"

size_t sl_cobs_encode(const uint8_t *from, size_t size, uint8_t *to) {
  size_t code_at = 0;
  size_t at = 1;
  uint8_t code = 1;
  for (size_t i = 0; i < size; i++) {
    if (from[i] != 0) {
      to[at++] = from[i];
      code++;
    }
    /* A full block is closed at once, except where the data ends with it. */
    if (from[i] == 0 || (code == 0xFFu && i + 1u < size)) {
      to[code_at] = code;
      code_at = at++;
      code = 1;
    }
  }
  to[code_at] = code;
  return at;
}

int32_t sl_cobs_decode(const uint8_t *from, size_t size, uint8_t *to, size_t room) {
  size_t in = 0;
  size_t out = 0;
  if (size == 0) return -1;
  while (in < size) {
    uint8_t code = from[in++];
    if (code == 0 || (size_t)(code - 1u) > size - in) return -1;
    if ((size_t)(code - 1u) > room - out) return -1;
    for (uint8_t i = 1; i < code; i++) {
      if (from[in] == 0) return -1;
      to[out++] = from[in++];
    }
    if (code != 0xFFu && in < size) {
      if (out == room) return -1;
      to[out++] = 0;
    }
  }
  return (int32_t)out;
}
