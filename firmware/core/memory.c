#include "memory.h"

#include <stdint.h>

/* Compiled with -fno-tree-loop-distribute-patterns: otherwise gcc turns these loops into calls of themselves. */

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  uint8_t *out = to;
  const uint8_t *in = from;
  while (size-- > 0) *out++ = *in++;
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((uintptr_t)out <= (uintptr_t)in) {
    while (size-- > 0) *out++ = *in++;
  } else {
    while (size-- > 0) out[size] = in[size];
  }
  return to;
}

void *memset(void *to, int byte, size_t size) {
  uint8_t *out = to;
  while (size-- > 0) *out++ = (uint8_t)byte;
  return to;
}

int memcmp(const void *one, const void *other, size_t size) {
  const uint8_t *a = one;
  const uint8_t *b = other;
  for (size_t i = 0; i < size; i++) {
    if (a[i] != b[i]) return (int)a[i] - (int)b[i];
  }
  return 0;
}
