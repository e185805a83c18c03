/*
 * Ed25519 signature verification (RFC 8032, section 5.1.7), small rather than fast: about 2.5 KB of code and 1.2 KB of
 * stack. Nothing secret passes through it, so it makes no attempt at constant time.
 *
 * How strict it is. The equation is the one without cofactor, [S]B = R + [k]A, compared as encoded bytes, which is what
 * OpenSSL does; so whatever is accepted here is accepted there. Refused are: S >= L (RFC 8032 demands it: no second
 * signature from a first), R in any encoding but the canonical one, a public key that is no point, that is encoded with
 * y >= p or as x = 0 with a sign, and, beyond RFC 8032, a public key of small order, under which signatures can be made
 * without any secret.
 */
#ifndef SL_ED25519_H
#define SL_ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_ED25519_KEY_SIZE 32u
#define SL_ED25519_SIGNATURE_SIZE 64u

bool sl_ed25519_verify(const uint8_t signature[SL_ED25519_SIGNATURE_SIZE], const uint8_t key[SL_ED25519_KEY_SIZE],
                     const void *message, size_t length);

#endif
