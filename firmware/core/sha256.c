#include "sha256.h"

#include "bytes.h"

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, section 4.2.2). */
static const uint32_t K[64] = {
  0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
  0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
  0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
  0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
  0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
  0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
  0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
  0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static const uint32_t INITIAL[8] = {
  0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

static inline uint32_t ror(uint32_t x, unsigned n) {
  return (x >> n) | (x << (32u - n));
}

static void compress(sl_sha256 *s) {
  /* The schedule is kept as a ring of its last 16 words: a quarter of the RAM of the textbook array. */
  uint32_t w[16];
  uint32_t v[8];
  for (size_t i = 0; i < 16; i++) w[i] = sl_get_be32(s->block + 4u * i);
  for (unsigned i = 0; i < 8; i++) v[i] = s->h[i];
  for (unsigned i = 0; i < 64; i++) {
    uint32_t word = w[i & 15u];
    if (i >= 16) {
      uint32_t w15 = w[(i + 1u) & 15u];
      uint32_t w2 = w[(i + 14u) & 15u];
      word += (ror(w15, 7) ^ ror(w15, 18) ^ (w15 >> 3)) + w[(i + 9u) & 15u] + (ror(w2, 17) ^ ror(w2, 19) ^ (w2 >> 10));
      w[i & 15u] = word;
    }
    uint32_t e = v[4];
    uint32_t a = v[0];
    uint32_t t1 = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + K[i] + word;
    uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
    v[7] = v[6];
    v[6] = v[5];
    v[5] = e;
    v[4] = v[3] + t1;
    v[3] = v[2];
    v[2] = v[1];
    v[1] = a;
    v[0] = t1 + t2;
  }
  for (unsigned i = 0; i < 8; i++) s->h[i] += v[i];
}

void sl_sha256_init(sl_sha256 *s) {
  for (unsigned i = 0; i < 8; i++) s->h[i] = INITIAL[i];
  s->length = 0;
}

void sl_sha256_update(sl_sha256 *s, const void *data, size_t length) {
  const uint8_t *bytes = data;
  while (length-- > 0) {
    s->block[s->length++ & 63u] = *bytes++;
    if ((s->length & 63u) == 0) compress(s);
  }
}

void sl_sha256_final(sl_sha256 *s, uint8_t digest[SL_SHA256_SIZE]) {
  static const uint8_t one = 0x80;
  static const uint8_t zero = 0x00;
  uint32_t length = s->length;
  uint8_t bits[8] = {0};
  sl_put_be32(bits, length >> 29);
  sl_put_be32(bits + 4, length << 3);
  sl_sha256_update(s, &one, 1);
  while ((s->length & 63u) != 56u) sl_sha256_update(s, &zero, 1);
  sl_sha256_update(s, bits, sizeof bits);
  for (size_t i = 0; i < 8; i++) sl_put_be32(digest + 4u * i, s->h[i]);
}
