/** The CRC of Modbus RTU (Modbus over serial line V1.02, section 6.2.2). */
#ifndef SL_CRC16_H
#define SL_CRC16_H

#include <stddef.h>
#include <stdint.h>

#define SL_CRC16_START 0xFFFFu

/** Continues from `crc`; start with `SL_CRC16_START`. 0 over a frame that ends in its own CRC, low byte first. */
uint16_t sl_crc16(uint16_t crc, const uint8_t *bytes, size_t size);

#endif
