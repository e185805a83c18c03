/*
 * SHA-256 (FIPS 180-4, section 6.2). No allocation; the state is 108 bytes and may be kept over many calls.
 */
#ifndef SL_SHA256_H
#define SL_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SL_SHA256_SIZE 32u

typedef struct {
  uint32_t h[8];
  uint8_t block[64];
  uint32_t length; /* bytes taken so far; messages here are shorter than 512 MiB */
} sl_sha256;

void sl_sha256_init(sl_sha256 *s);
void sl_sha256_update(sl_sha256 *s, const void *data, size_t length);
/* Writes the digest; the state has to be initialised again before it is used again. */
void sl_sha256_final(sl_sha256 *s, uint8_t digest[SL_SHA256_SIZE]);

#endif
