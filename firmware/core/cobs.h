/** Consistent Overhead Byte Stuffing (Cheshire and Baker 1999): frames without a zero byte, which then ends each. */
#ifndef SL_COBS_H
#define SL_COBS_H

#include <stddef.h>
#include <stdint.h>

/** Bytes that `size` bytes need at most when encoded, without the final zero. */
#define SL_COBS_MAX(size) ((size) + (size) / 254u + 1u)

/** Encodes into at least SL_COBS_MAX(size) bytes; does not append the zero. Gives the length. */
size_t sl_cobs_encode(const uint8_t *from, size_t size, uint8_t *to);

/** Decodes `size` bytes without the final zero; may work in place. Gives the length, or -1: broken or too long. */
int32_t sl_cobs_decode(const uint8_t *from, size_t size, uint8_t *to, size_t room);

#endif
