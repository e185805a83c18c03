/* Apart from image.c, so that an application that leaves signatures to its bootloader does not carry Ed25519. */
#include "ed25519.h"
#include "hal.h"
#include "image.h"
#include "memory.h"
#include "sha256.h"

/* What stands before an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4): imgtool hashes both. */
static const uint8_t SPKI[12] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

static bool named(const sl_image_key *key, const uint8_t hash_of_image[32]) {
  sl_sha256 hash;
  uint8_t digest[SL_SHA256_SIZE];
  sl_sha256_init(&hash);
  sl_sha256_update(&hash, SPKI, sizeof SPKI);
  sl_sha256_update(&hash, key->key, sizeof key->key);
  sl_sha256_final(&hash, digest);
  return memcmp(digest, hash_of_image, sizeof digest) == 0;
}

sl_image_status sl_image_check_signature(const sl_image *image, const sl_image_key *keys, size_t count, bool production) {
  uint8_t key_hash[32];
  uint8_t signature[SL_ED25519_SIGNATURE_SIZE];
  if (!sl_hal_flash_read(image->key_hash_at, key_hash, sizeof key_hash)) return SL_IMAGE_KEY;
  if (!sl_hal_flash_read(image->signature_at, signature, sizeof signature)) return SL_IMAGE_SIGNATURE;
  for (size_t i = 0; i < count; i++) {
    if (!named(&keys[i], key_hash)) continue;
    if (production && keys[i].development) return SL_IMAGE_DEV_KEY;
    return sl_ed25519_verify(signature, keys[i].key, image->digest, sizeof image->digest) ? SL_IMAGE_OK
                                                                                          : SL_IMAGE_SIGNATURE;
  }
  return SL_IMAGE_KEY;
}
