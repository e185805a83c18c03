/**
 * Firmware images in MCUboot's format (docs/design.md of that project): a header of 32 bytes, the payload, protected TLVs
 * that the hash covers, and TLVs with the hash, the key's hash and the Ed25519 signature of the hash.
 *
 * Everything in flash is taken for hostile until the signature is checked: no length is believed before it is compared
 * with what is left of the slot, and nothing is read outside it.
 */
#ifndef SL_IMAGE_H
#define SL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Why an image is not run. The numbers travel to the gateway and stay in flash: they never change meaning. */
typedef enum {
  SL_IMAGE_OK = 0,
  SL_IMAGE_EMPTY = 1,       /* the slot begins with erased flash */
  SL_IMAGE_MAGIC = 2,       /* something else than an image */
  SL_IMAGE_HEADER = 3,      /* header size or flags that this bootloader cannot serve */
  SL_IMAGE_SIZE = 4,        /* does not fit in the slot */
  SL_IMAGE_TLV = 5,         /* TLVs broken, missing or doubled */
  SL_IMAGE_BOARD = 6,       /* made for another board */
  SL_IMAGE_SLOT = 7,        /* linked for another address */
  SL_IMAGE_ROLLBACK = 8,    /* security counter below what this device has confirmed */
  SL_IMAGE_DOWNGRADE = 9,   /* version below the running one */
  SL_IMAGE_DIGEST = 10,     /* content does not match its SHA-256 */
  SL_IMAGE_KEY = 11,        /* signed with a key that this bootloader does not know */
  SL_IMAGE_DEV_KEY = 12,    /* signed with the development key, on a production board */
  SL_IMAGE_SIGNATURE = 13,  /* signature does not fit */
  SL_IMAGE_FLASH = 14,      /* the flash did not take what was written */
  SL_IMAGE_EXHAUSTED = 15   /* was started as often as a test image may be, and never confirmed */
} sl_image_status;

#define SL_IMAGE_HEADER_LEAST 32u
#define SL_IMAGE_BOARD_MAX 24u
#define SL_IMAGE_MODEL_HASH_SIZE 8u

/** Ordered as MCUboot orders them: major, minor, revision, then build. */
typedef struct {
  uint8_t major;
  uint8_t minor;
  uint16_t revision;
  uint32_t build;
} sl_version;

typedef struct {
  uint32_t address;       /* of the header */
  uint32_t header_size;   /* the vector table stands behind it */
  uint32_t signed_size;   /* header, payload and protected TLVs: what the digest covers */
  uint32_t size;          /* with all TLVs */
  uint32_t security_counter;
  uint32_t slot_address;  /* where it was linked to run */
  uint32_t key_hash_at;   /* addresses of the two TLVs that only the signature check needs */
  uint32_t signature_at;
  sl_version version;
  uint8_t digest[32];
  uint8_t model_hash[SL_IMAGE_MODEL_HASH_SIZE]; /* zeros when it says none */
  char board[SL_IMAGE_BOARD_MAX + 1];           /* empty when it says none */
} sl_image;

/** A public key that images may be signed with. */
typedef struct {
  uint8_t key[32];
  bool development;
} sl_image_key;

/** Reads header and TLVs of what begins at `address` and has `room` bytes; checks shape only. */
sl_image_status sl_image_parse(sl_image *image, uint32_t address, uint32_t room);

/** Whether a parsed image is meant for this place: board, slot address, security counter. */
sl_image_status sl_image_admit(const sl_image *image, const char *board, uint32_t least_counter);

/** Compares content and digest. `SL_IMAGE_OK` or `SL_IMAGE_DIGEST`. */
sl_image_status sl_image_check_digest(const sl_image *image);

/**
 * Checks the signature of the digest (not the digest: call the above first) with the key that the image names. With
 * `production`, development keys are refused even when they are listed.
 */
sl_image_status sl_image_check_signature(const sl_image *image, const sl_image_key *keys, size_t count, bool production);

/** Below, equal or above zero as `a` is older, the same or newer than `b`. */
int sl_version_compare(const sl_version *a, const sl_version *b);

#endif
