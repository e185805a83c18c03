/*
 * SHA-512 (FIPS 180-4, section 6.4), for Ed25519 only: messages are short, so the length counter has 32 bits.
 */
#ifndef SL_SHA512_H
#define SL_SHA512_H

#include <stddef.h>
#include <stdint.h>

#define SL_SHA512_SIZE 64u

typedef struct {
  uint64_t h[8];
  uint8_t block[128];
  uint32_t length; /* bytes taken so far, below 512 MiB */
} sl_sha512;

void sl_sha512_init(sl_sha512 *s);
void sl_sha512_update(sl_sha512 *s, const void *data, size_t length);
/* Writes the digest; the state has to be initialised again before it is used again. */
void sl_sha512_final(sl_sha512 *s, uint8_t digest[SL_SHA512_SIZE]);

#endif
