/**
 * Cuts Modbus RTU frames out of the bytes of a line that several units share.
 *
 * A frame begins after silence, or right after a whole frame, and ends where its own length says; the CRC decides. Frames
 * of other units, requests and answers alike, are recognised and stepped over, so that what follows them is found even
 * when the silence between was not seen. A frame broken up by short silences (USB adapters do that) is still whole; one
 * that is damaged costs no other: the old beginning and those after each silence are followed until one fits.
 * Functions without a known length are judged at the silence that ends them.
 */
#ifndef SL_RTU_H
#define SL_RTU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Longest frame: unit, PDU of 253 bytes, CRC (Modbus over serial line V1.02, section 2.5.1). */
#define SL_RTU_MAX 256u

/** Silences within one frame that are remembered; another one gives the oldest beginning up. */
#define SL_RTU_MARKS 8u

typedef struct {
  uint16_t messages;   /* whole frames seen on the line, whoever they are for */
  uint16_t crc_errors; /* beginnings that became no frame */
  uint16_t overruns;   /* bytes damaged or lost before they came here */
} sl_rtu_counters;

typedef struct {
  uint8_t unit; /* ours, 1 to 247 */
  bool lost;    /* nothing is believed until the next silence */
  bool whole;   /* the frame in `bytes` was handed out */
  uint16_t size;
  uint8_t marks;        /* how many silences fell within `bytes` */
  uint16_t mark[SL_RTU_MARKS]; /* where, first to last */
  const uint8_t *echo;  /* what we sent and shall hear again */
  uint16_t echo_left;
  sl_rtu_counters counters;
  bool told;    /* `sl_rtu_silence` has judged what is there */
  uint8_t bytes[SL_RTU_MAX];
} sl_rtu;

void sl_rtu_start(sl_rtu *rtu, uint8_t unit);

/**
 * Takes one byte with the flags of `sl_uart_read`. True: `bytes[0]` to `bytes[size - 1]` is a request to our unit or to
 * all (unit 0), CRC checked and still there; it stays until the next call.
 */
bool sl_rtu_push(sl_rtu *rtu, uint16_t entry);

/** The line has been silent for t3.5: true as above, when what is there turns out to be a request of unknown length. */
bool sl_rtu_silence(sl_rtu *rtu);

/** Whether the next silence has to be told to `sl_rtu_silence`. */
bool sl_rtu_open_end(const sl_rtu *rtu);

/** This line hands back what we send: drops the next `size` bytes when they are those. They must stay as they are. */
void sl_rtu_expect_echo(sl_rtu *rtu, const uint8_t *bytes, uint16_t size);

/** Appends the CRC to `size` bytes and returns the length with it. */
uint16_t sl_rtu_seal(uint8_t *frame, uint16_t size);

#endif
