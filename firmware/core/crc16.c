#include "crc16.h"

/* One entry a nibble: 32 bytes of flash instead of 512, and still two steps a byte. Polynomial 0xA001, reflected. */
static const uint16_t nibbles[16] = {0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
                                     0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400};

uint16_t sl_crc16(uint16_t crc, const uint8_t *bytes, size_t size) {
  uint32_t value = crc;
  for (size_t i = 0; i < size; i++) {
    value ^= bytes[i];
    value = (value >> 4) ^ nibbles[value & 0x0Fu];
    value = (value >> 4) ^ nibbles[value & 0x0Fu];
  }
  return (uint16_t)value;
}
