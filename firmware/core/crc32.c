#include "crc32.h"

uint32_t sl_crc32(uint32_t crc, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  crc = ~crc;
  while (size-- > 0) {
    crc ^= *at++;
    for (unsigned bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}
