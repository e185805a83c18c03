/** CRC-32 of IEEE 802.3 (reflected 0x04C11DB7), bit by bit: records here are short, and a table costs a kilobyte. */
#ifndef SL_CRC32_H
#define SL_CRC32_H

#include <stddef.h>
#include <stdint.h>

/** Continues from the CRC of what came before; 0 starts. */
uint32_t sl_crc32(uint32_t crc, const void *bytes, size_t size);

#endif
