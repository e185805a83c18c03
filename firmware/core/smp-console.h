/**
 * SMP on a serial line that people may read too (mcumgr's console framing): lines of base64 behind 06 09, continued behind
 * 04 14, ended by a newline, at most 127 bytes each. Inside: length (2 bytes, with the CRC), packet, CRC-16/XMODEM.
 */
#ifndef SL_SMP_CONSOLE_H
#define SL_SMP_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_SMP_LINE_MAX 127u
/** Bytes on the wire for a packet of `size` bytes, at most. */
#define SL_SMP_CONSOLE_MAX(size) (((size) + 4u) * 4u / 3u + (((size) + 4u) / 93u + 1u) * 3u + 8u)

typedef struct {
  uint8_t *buffer; /* for a packet with its length and CRC */
  uint16_t room;
  uint16_t size;   /* decoded so far */
  uint16_t column; /* in the line; 0xFFFF: not one of ours */
  bool first;      /* the line opens a packet */
  uint8_t marks;   /* bytes of the marker seen */
  uint8_t digits;  /* base64 digits waiting */
  uint32_t bits;
} sl_smp_console;

void sl_smp_console_start(sl_smp_console *console, uint8_t *buffer, uint16_t room);

/** Takes a byte. Gives the length of a whole packet, which is at `buffer + 2` until the next call; 0: not yet. */
size_t sl_smp_console_push(sl_smp_console *console, uint8_t byte);

/** Encodes a packet; `room` is at least SL_SMP_CONSOLE_MAX(size). Gives the number of bytes for the wire, 0: no room. */
size_t sl_smp_console_encode(const uint8_t *packet, size_t size, uint8_t *out, size_t room);

#endif
