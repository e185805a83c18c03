#include "image.h"

#include "bytes.h"
#include "hal.h"
#include "memory.h"
#include "sha256.h"

#define MAGIC 0x96F3B83Du
#define MAGIC_PROTECTED 0x6908u
#define MAGIC_OPEN 0x6907u

/* Of MCUboot's flags only these two mean nothing to a bootloader that runs images where they are. */
#define FLAG_POSITION_INDEPENDENT 0x001u
#define FLAG_FIXED_ADDRESS 0x100u
#define HEADER_SIZE_MAX 0x1000u

enum {
  TLV_KEY_HASH = 0x01,
  TLV_SHA256 = 0x10,
  TLV_ED25519 = 0x24,
  TLV_SECURITY_COUNTER = 0x50,
  TLV_MODEL_HASH = 0xA0,
  TLV_BOARD = 0xA1,
  TLV_SLOT_ADDRESS = 0xA2
};

/* Bits of what was seen, so that nothing is missing and nothing comes twice. */
enum { SEEN_KEY = 1, SEEN_DIGEST = 2, SEEN_SIGNATURE = 4, SEEN_COUNTER = 8, SEEN_MODEL = 16, SEEN_BOARD = 32, SEEN_SLOT = 64 };

static bool take_protected(sl_image *image, unsigned type, uint32_t at, uint32_t size, unsigned *seen) {
  uint8_t word[4];
  unsigned bit;
  switch (type) {
    case TLV_SECURITY_COUNTER:
    case TLV_SLOT_ADDRESS:
      bit = type == TLV_SECURITY_COUNTER ? SEEN_COUNTER : SEEN_SLOT;
      if (size != sizeof word || !sl_hal_flash_read(at, word, sizeof word)) return false;
      if (type == TLV_SECURITY_COUNTER) image->security_counter = sl_get_le32(word);
      else image->slot_address = sl_get_le32(word);
      break;
    case TLV_MODEL_HASH:
      bit = SEEN_MODEL;
      if (size != sizeof image->model_hash || !sl_hal_flash_read(at, image->model_hash, size)) return false;
      break;
    case TLV_BOARD:
      bit = SEEN_BOARD;
      if (size == 0 || size > SL_IMAGE_BOARD_MAX || !sl_hal_flash_read(at, image->board, size)) return false;
      break;
    default:
      return true;
  }
  if ((*seen & bit) != 0) return false;
  *seen |= bit;
  return true;
}

static bool take_open(sl_image *image, unsigned type, uint32_t at, uint32_t size, unsigned *seen) {
  unsigned bit;
  switch (type) {
    case TLV_KEY_HASH:
      bit = SEEN_KEY;
      if (size != 32u) return false;
      image->key_hash_at = at;
      break;
    case TLV_SHA256:
      bit = SEEN_DIGEST;
      if (size != sizeof image->digest || !sl_hal_flash_read(at, image->digest, size)) return false;
      break;
    case TLV_ED25519:
      bit = SEEN_SIGNATURE;
      if (size != 64u) return false;
      image->signature_at = at;
      break;
    /* What must be signed does not count where the signature does not reach. */
    case TLV_SECURITY_COUNTER:
    case TLV_MODEL_HASH:
    case TLV_BOARD:
    case TLV_SLOT_ADDRESS:
      return false;
    default:
      return true;
  }
  if ((*seen & bit) != 0) return false;
  *seen |= bit;
  return true;
}

/* Walks one area of TLVs that begins at `*at`, ends before `end`, and moves `*at` behind it. */
static bool walk(sl_image *image, uint32_t *at, uint32_t end, uint16_t magic, unsigned *seen) {
  uint8_t head[4];
  if (end - *at < sizeof head || !sl_hal_flash_read(*at, head, sizeof head)) return false;
  uint32_t total = sl_get_le16(head + 2);
  if (sl_get_le16(head) != magic || total < sizeof head || total > end - *at) return false;
  uint32_t stop = *at + total;
  *at += (uint32_t)sizeof head;
  while (*at < stop) {
    if (stop - *at < sizeof head || !sl_hal_flash_read(*at, head, sizeof head)) return false;
    unsigned type = sl_get_le16(head);
    uint32_t size = sl_get_le16(head + 2);
    *at += (uint32_t)sizeof head;
    if (size > stop - *at) return false;
    if (!(magic == MAGIC_PROTECTED ? take_protected(image, type, *at, size, seen)
                                   : take_open(image, type, *at, size, seen))) {
      return false;
    }
    *at += size;
  }
  return true;
}

sl_image_status sl_image_parse(sl_image *image, uint32_t address, uint32_t room) {
  uint8_t header[SL_IMAGE_HEADER_LEAST];
  memset(image, 0, sizeof *image);
  image->address = address;
  if (room < sizeof header || !sl_hal_flash_read(address, header, sizeof header)) return SL_IMAGE_SIZE;
  uint32_t magic = sl_get_le32(header);
  if (magic == 0xFFFFFFFFu) return SL_IMAGE_EMPTY;
  if (magic != MAGIC) return SL_IMAGE_MAGIC;
  uint32_t load_address = sl_get_le32(header + 4);
  uint32_t header_size = sl_get_le16(header + 8);
  uint32_t protected_size = sl_get_le16(header + 10);
  uint32_t payload_size = sl_get_le32(header + 12);
  uint32_t flags = sl_get_le32(header + 16);
  image->version.major = header[20];
  image->version.minor = header[21];
  image->version.revision = sl_get_le16(header + 22);
  image->version.build = sl_get_le32(header + 24);
  image->header_size = header_size;
  if ((flags & ~(FLAG_POSITION_INDEPENDENT | FLAG_FIXED_ADDRESS)) != 0) return SL_IMAGE_HEADER;
  if (header_size < SL_IMAGE_HEADER_LEAST || header_size > HEADER_SIZE_MAX || (header_size & 3u) != 0) return SL_IMAGE_HEADER;
  if (header_size > room || payload_size > room - header_size) return SL_IMAGE_SIZE;
  if (payload_size < 8u) return SL_IMAGE_HEADER; /* not even a stack pointer and a reset vector */

  uint32_t at = address + header_size + payload_size;
  uint32_t end = address + room;
  unsigned seen = 0;
  if (protected_size != 0) {
    uint32_t start = at;
    if (!walk(image, &at, end, MAGIC_PROTECTED, &seen) || at - start != protected_size) return SL_IMAGE_TLV;
  }
  image->signed_size = at - address;
  if (!walk(image, &at, end, MAGIC_OPEN, &seen)) return SL_IMAGE_TLV;
  image->size = at - address;
  /* `imgtool --rom-fixed` says in the header what our TLV says. When both are there they have to agree. */
  if ((flags & FLAG_FIXED_ADDRESS) != 0) {
    if ((seen & SEEN_SLOT) != 0 && image->slot_address != load_address) return SL_IMAGE_SLOT;
    image->slot_address = load_address;
    seen |= SEEN_SLOT;
  }
  const unsigned needed = SEEN_KEY | SEEN_DIGEST | SEEN_SIGNATURE | SEEN_COUNTER | SEEN_BOARD | SEEN_SLOT;
  return (seen & needed) == needed ? SL_IMAGE_OK : SL_IMAGE_TLV;
}

sl_image_status sl_image_admit(const sl_image *image, const char *board, uint32_t least_counter) {
  size_t i = 0;
  while (i < sizeof image->board - 1u && image->board[i] != '\0' && image->board[i] == board[i]) i++;
  if (image->board[i] != board[i]) return SL_IMAGE_BOARD;
  if (image->slot_address != image->address) return SL_IMAGE_SLOT;
  return image->security_counter < least_counter ? SL_IMAGE_ROLLBACK : SL_IMAGE_OK;
}

sl_image_status sl_image_check_digest(const sl_image *image) {
  sl_sha256 hash;
  uint8_t piece[64];
  uint32_t at = image->address;
  uint32_t left = image->signed_size;
  sl_sha256_init(&hash);
  while (left > 0) {
    uint32_t size = left < sizeof piece ? left : (uint32_t)sizeof piece;
    if (!sl_hal_flash_read(at, piece, size)) return SL_IMAGE_DIGEST;
    sl_sha256_update(&hash, piece, size);
    /* A slow processor needs longer for a large image than its watchdog would wait. */
    sl_hal_watchdog_feed();
    at += size;
    left -= size;
  }
  sl_sha256_final(&hash, piece);
  return memcmp(piece, image->digest, sizeof image->digest) == 0 ? SL_IMAGE_OK : SL_IMAGE_DIGEST;
}

int sl_version_compare(const sl_version *a, const sl_version *b) {
  if (a->major != b->major) return a->major < b->major ? -1 : 1;
  if (a->minor != b->minor) return a->minor < b->minor ? -1 : 1;
  if (a->revision != b->revision) return a->revision < b->revision ? -1 : 1;
  if (a->build != b->build) return a->build < b->build ? -1 : 1;
  return 0;
}
