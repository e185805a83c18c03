#include "ed25519.h"

#include "bytes.h"
#include "sha512.h"

/*
 * Numbers modulo p = 2^255 - 19, 16 limbs of 16 bits, least first. Arithmetic keeps them below 2^256, not below p:
 * 2^256 = 38 (mod p), so a carry out of the top comes back in at the bottom times 38. Limbs of 16 bits because the
 * Cortex-M0 multiplies 32 x 32 to 32 bits only.
 */
#define LIMBS 16u

typedef struct {
  uint16_t v[LIMBS];
} fe;

/* Extended coordinates (Hisil, Wong, Carter, Dawson 2008): x = X/Z, y = Y/Z, T = XY/Z. */
typedef struct {
  fe x, y, z, t;
} point;

static const fe ZERO = {{0}};
static const fe ONE = {{1}};
/* d = -121665/121666, and the square root of -1 (RFC 8032, section 5.1). */
static const fe D = {{0x78a3, 0x1359, 0x4dca, 0x75eb, 0xd8ab, 0x4141, 0x0a4d, 0x0070, 0xe898, 0x7779, 0x4079, 0x8cc7,
                      0xfe73, 0x2b6f, 0x6cee, 0x5203}};
static const fe SQRT_M1 = {{0xa0b0, 0x4a0e, 0x1b27, 0xc4ee, 0xe478, 0xad2f, 0x1806, 0x2f43, 0xd7a7, 0x3dfb, 0x0099,
                            0x2b4d, 0xdf0b, 0x4fc1, 0x2480, 0x2b83}};
/* p, the order L of the base point, and the base point's encoding. */
static const fe P = {{0xffed, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
                      0xffff, 0xffff, 0xffff, 0x7fff}};
static const fe ORDER = {{0xd3ed, 0x5cf5, 0x631a, 0x5812, 0x9cd6, 0xa2f7, 0xf9de, 0x14de, 0, 0, 0, 0, 0, 0, 0,
                          0x1000}};

/* out = low 256 bits of 38 * carry + number, until nothing is carried. At most three rounds. */
static void fold(fe *out, uint32_t carry) {
  while (carry != 0) {
    carry *= 38u;
    for (unsigned i = 0; i < LIMBS; i++) {
      carry += out->v[i];
      out->v[i] = (uint16_t)carry;
      carry >>= 16;
    }
  }
}

static void fe_add(fe *out, const fe *a, const fe *b) {
  uint32_t carry = 0;
  for (unsigned i = 0; i < LIMBS; i++) {
    carry += (uint32_t)a->v[i] + b->v[i];
    out->v[i] = (uint16_t)carry;
    carry >>= 16;
  }
  fold(out, carry);
}

/* Plain subtraction of 256-bit numbers; gives the borrow, 0 or 1. */
static uint32_t subtract(fe *out, const fe *a, const fe *b) {
  uint32_t borrow = 0;
  for (unsigned i = 0; i < LIMBS; i++) {
    uint32_t difference = (uint32_t)a->v[i] - b->v[i] - borrow;
    out->v[i] = (uint16_t)difference;
    borrow = (difference >> 16) & 1u;
  }
  return borrow;
}

static void fe_sub(fe *out, const fe *a, const fe *b) {
  static const fe minus_carry = {{38}};
  uint32_t borrow = subtract(out, a, b);
  while (borrow != 0) borrow = subtract(out, out, &minus_carry);
}

static void fe_mul(fe *out, const fe *a, const fe *b) {
  uint16_t product[2u * LIMBS] = {0};
  for (unsigned row = 0; row < LIMBS; row++) {
    uint16_t *to = product + row;
    uint32_t factor = a->v[row];
    uint32_t above = 0;
    /* 65535 * 65535 + 65535 + 65535 is 2^32 - 1: a step never overflows. Unrolled, because all the time goes here. */
#pragma GCC unroll 16
    for (unsigned i = 0; i < LIMBS; i++) {
      above += factor * b->v[i] + to[i];
      to[i] = (uint16_t)above;
      above >>= 16;
    }
    to[LIMBS] = (uint16_t)above;
  }

  uint32_t carry = 0;
  for (unsigned i = 0; i < LIMBS; i++) {
    carry += product[i] + 38u * product[i + LIMBS];
    out->v[i] = (uint16_t)carry;
    carry >>= 16;
  }
  fold(out, carry);
}

static void fe_square_times(fe *out, const fe *a, unsigned times) {
  fe_mul(out, a, a);
  while (--times > 0) fe_mul(out, out, out);
}

/* out = z^(2^252 - 3), the exponent that both the square root and the inverse need. */
static void fe_power(fe *out, const fe *z) {
  /* Exponents of ones only, 2^n - 1: doubled in length by squaring n times and multiplying with itself. */
  fe one_bit = *z;
  fe ones;
  fe t;
  fe five;
  unsigned n = 1;
  fe_mul(&t, z, z);
  fe_mul(&ones, &t, z); /* 2 ones */
  n = 2;
  fe_square_times(&t, &ones, n);
  fe_mul(&t, &t, &ones); /* 4 ones */
  fe_mul(&t, &t, &t);
  fe_mul(&five, &t, z); /* 5 ones */
  ones = five;
  n = 5;
  /* 5 -> 10 -> 20 -> 40 -> 50 -> 100 -> 200 -> 250; ten and fifty ones are kept for the sums. */
  fe ten;
  fe_square_times(&t, &ones, n);
  fe_mul(&ten, &t, &ones);
  fe_square_times(&t, &ten, 10);
  fe_mul(&ones, &t, &ten); /* 20 */
  fe_square_times(&t, &ones, 20);
  fe_mul(&ones, &t, &ones); /* 40 */
  fe_square_times(&t, &ones, 10);
  fe_mul(&ten, &t, &ten); /* 50, in the place of ten */
  fe_square_times(&t, &ten, 50);
  fe_mul(&ones, &t, &ten); /* 100 */
  fe_square_times(&t, &ones, 100);
  fe_mul(&ones, &t, &ones); /* 200 */
  fe_square_times(&t, &ones, 50);
  fe_mul(&ones, &t, &ten); /* 250 */
  fe_square_times(&t, &ones, 2);
  fe_mul(out, &t, &one_bit); /* 250 ones, then 01 */
}

/* out = 1/z, as z^(p - 2) = (z^(2^252 - 3))^8 * z^3. */
static void fe_invert(fe *out, const fe *z) {
  fe t;
  fe z3;
  fe_mul(&z3, z, z);
  fe_mul(&z3, &z3, z);
  fe_power(&t, z);
  fe_square_times(&t, &t, 3);
  fe_mul(out, &t, &z3);
}

/* Brings a number below 2^256 to the one below p that it stands for. */
static void fe_freeze(fe *a) {
  fe t;
  /* 2^256 is less than 3 p. */
  while (subtract(&t, a, &P) == 0) *a = t;
}

static bool same(const fe *a, const fe *b) {
  uint32_t difference = 0;
  for (unsigned i = 0; i < LIMBS; i++) difference |= (uint32_t)(a->v[i] ^ b->v[i]);
  return difference == 0;
}

static bool fe_equal(const fe *a, const fe *b) {
  fe difference;
  fe_sub(&difference, a, b);
  fe_freeze(&difference);
  return same(&difference, &ZERO);
}

static void point_double(point *out, const point *a) {
  /* dbl-2008-hwcd with a = -1. */
  fe aa, bb, c, e, g, f, h;
  fe_mul(&aa, &a->x, &a->x);
  fe_mul(&bb, &a->y, &a->y);
  fe_mul(&c, &a->z, &a->z);
  fe_add(&c, &c, &c);
  fe_add(&e, &a->x, &a->y);
  fe_mul(&e, &e, &e);
  fe_add(&h, &aa, &bb);
  fe_sub(&e, &h, &e); /* -E */
  fe_sub(&g, &aa, &bb); /* -G */
  fe_add(&f, &c, &g); /* -F */
  fe_mul(&out->x, &e, &f);
  fe_mul(&out->y, &g, &h);
  fe_mul(&out->t, &e, &h);
  fe_mul(&out->z, &f, &g);
}

static void point_add(point *out, const point *a, const point *b) {
  /* add-2008-hwcd-3, complete on this curve: it needs no exceptions for equal points or the neutral one. */
  fe aa, bb, c, dd, e;
  fe_sub(&aa, &a->y, &a->x);
  fe_sub(&c, &b->y, &b->x);
  fe_mul(&aa, &aa, &c);
  fe_add(&bb, &a->y, &a->x);
  fe_add(&c, &b->y, &b->x);
  fe_mul(&bb, &bb, &c);
  fe_mul(&c, &a->t, &b->t);
  fe_mul(&c, &c, &D);
  fe_add(&c, &c, &c);
  fe_mul(&dd, &a->z, &b->z);
  fe_add(&dd, &dd, &dd);
  fe_sub(&e, &bb, &aa);
  fe_add(&bb, &bb, &aa); /* H */
  fe_sub(&aa, &dd, &c); /* F */
  fe_add(&dd, &dd, &c); /* G */
  fe_mul(&out->x, &e, &aa);
  fe_mul(&out->y, &dd, &bb);
  fe_mul(&out->t, &e, &bb);
  fe_mul(&out->z, &aa, &dd);
}

static void fe_load(fe *out, const uint8_t bytes[32]) {
  for (size_t i = 0; i < LIMBS; i++) out->v[i] = sl_get_le16(bytes + 2u * i);
}

/* Decodes -A rather than A, which is what verification needs. False when the bytes are no canonical point. */
static bool decode_negated(point *out, const uint8_t bytes[32]) {
  fe u, v, v3, candidate, t;
  bool sign = (bytes[31] & 0x80u) != 0;
  fe_load(&out->y, bytes);
  out->y.v[LIMBS - 1u] &= 0x7fffu;
  if (subtract(&t, &out->y, &P) == 0) return false;

  /* x^2 = u/v with u = y^2 - 1 and v = d y^2 + 1; candidate root u v^3 (u v^7)^((p-5)/8) (RFC 8032, 5.1.3). */
  fe_mul(&u, &out->y, &out->y);
  fe_mul(&v, &u, &D);
  fe_sub(&u, &u, &ONE);
  fe_add(&v, &v, &ONE);
  fe_mul(&v3, &v, &v);
  fe_mul(&v3, &v3, &v);
  fe_mul(&t, &v3, &v3);
  fe_mul(&t, &t, &v);
  fe_mul(&t, &t, &u);
  fe_power(&candidate, &t);
  fe_mul(&candidate, &candidate, &v3);
  fe_mul(&candidate, &candidate, &u);
  fe_mul(&t, &candidate, &candidate);
  fe_mul(&t, &t, &v);
  if (!fe_equal(&t, &u)) {
    fe_sub(&u, &ZERO, &u);
    if (!fe_equal(&t, &u)) return false;
    fe_mul(&candidate, &candidate, &SQRT_M1);
  }
  fe_freeze(&candidate);
  if (same(&candidate, &ZERO) && sign) return false;
  if (((candidate.v[0] & 1u) != 0) == sign) fe_sub(&candidate, &ZERO, &candidate);
  out->x = candidate;
  out->z = ONE;
  fe_mul(&out->t, &out->x, &out->y);
  return true;
}

/* Eight times a point of small order is the neutral point. */
static bool small_order(const point *a) {
  point t;
  point_double(&t, a);
  point_double(&t, &t);
  point_double(&t, &t);
  fe_freeze(&t.x);
  return same(&t.x, &ZERO);
}

/* out = a 512-bit number modulo L, bit by bit: slow, tiny, and lost among the point operations. */
static void reduce_to_order(fe *out, const uint8_t wide[SL_SHA512_SIZE]) {
  fe t;
  *out = ZERO;
  for (unsigned bit = 512; bit-- > 0;) {
    uint32_t carry = (uint32_t)(wide[bit >> 3] >> (bit & 7u)) & 1u;
    for (unsigned i = 0; i < LIMBS; i++) {
      carry |= (uint32_t)out->v[i] << 1;
      out->v[i] = (uint16_t)carry;
      carry >>= 16;
    }
    if (subtract(&t, out, &ORDER) == 0) *out = t;
  }
}

static unsigned bit_of(const fe *a, unsigned bit) {
  return (unsigned)(a->v[bit >> 4] >> (bit & 15u)) & 1u;
}

/* out = [s]B + [k]A for A given in table[1]; both scalars below 2^253. */
static void multiply_both(point *out, point table[3], const fe *s, const fe *k) {
  /* y = 4/5 and x even, as an encoding: short, and it exercises the decoder on every call. */
  uint8_t base[32];
  base[0] = 0x58;
  for (unsigned i = 1; i < 32; i++) base[i] = 0x66;
  (void)decode_negated(&table[0], base);
  fe_sub(&table[0].x, &ZERO, &table[0].x);
  fe_sub(&table[0].t, &ZERO, &table[0].t);
  point_add(&table[2], &table[0], &table[1]);

  out->x = ZERO;
  out->y = ONE;
  out->z = ONE;
  out->t = ZERO;
  for (unsigned bit = 253; bit-- > 0;) {
    unsigned choice = bit_of(s, bit) | (bit_of(k, bit) << 1);
    point_double(out, out);
    if (choice != 0) point_add(out, out, &table[choice - 1u]);
  }
}

bool sl_ed25519_verify(const uint8_t signature[SL_ED25519_SIGNATURE_SIZE], const uint8_t key[SL_ED25519_KEY_SIZE],
                     const void *message, size_t length) {
  point table[3];
  point sum;
  fe s, k, t;
  fe_load(&s, signature + 32);
  if (subtract(&t, &s, &ORDER) == 0) return false;
  if (!decode_negated(&table[1], key) || small_order(&table[1])) return false;
  {
    sl_sha512 hash;
    uint8_t digest[SL_SHA512_SIZE];
    sl_sha512_init(&hash);
    sl_sha512_update(&hash, signature, 32);
    sl_sha512_update(&hash, key, SL_ED25519_KEY_SIZE);
    sl_sha512_update(&hash, message, length);
    sl_sha512_final(&hash, digest);
    reduce_to_order(&k, digest);
  }
  multiply_both(&sum, table, &s, &k);

  /* Encoded and compared with R as bytes, so that only the canonical encoding of R passes. */
  fe_invert(&t, &sum.z);
  fe_mul(&sum.x, &sum.x, &t);
  fe_mul(&sum.y, &sum.y, &t);
  fe_freeze(&sum.x);
  fe_freeze(&sum.y);
  sum.y.v[LIMBS - 1u] |= (uint16_t)(sum.x.v[0] << 15);
  fe_load(&t, signature);
  return same(&sum.y, &t);
}
