/**
 * SMP inside Modbus function 0x41, so that a board on an RS-485 bus is managed over the wire it is read on.
 *
 * What follows the function code and its length byte, in both directions: a control byte, then part of a packet.
 *
 *   control  0x80 first part    0x40 more parts follow    0x3F number of the part, from 0, modulo 64
 *
 * The client sends the parts of a request, one a question; each but the last is answered with its own control byte and
 * nothing else. The last is answered with the first part of the answer, and while that says that more follow, the client
 * asks on with a control byte of the next number alone. A question that is repeated because its answer was lost gets
 * the same answer again and is not carried out twice.
 */
#ifndef SL_SMP_TUNNEL_H
#define SL_SMP_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smp.h"

#define SL_TUNNEL_FIRST 0x80u
#define SL_TUNNEL_MORE 0x40u
#define SL_TUNNEL_NUMBER 0x3Fu
/** Longest part: a PDU of 253 bytes less function, length and control. */
#define SL_TUNNEL_PART 240u

typedef struct {
  sl_smp *smp;
  uint16_t taken;   /* bytes of the request so far */
  uint16_t length;  /* of the answer */
  uint16_t given;   /* bytes of the answer before the last part given */
  uint16_t shown;   /* bytes of that part */
  uint8_t last;     /* control byte of the last question */
  uint8_t last_size; /* size of the last part that was taken, to know a repeated one */
  bool asked;
  bool answering;
  uint8_t request[SL_SMP_MAX];
  uint8_t answer[SL_SMP_MAX];
} sl_smp_tunnel;

void sl_smp_tunnel_start(sl_smp_tunnel *tunnel, sl_smp *smp);

/**
 * Serves one question, without function code and length byte. Gives the length of the answer in `out`; 0 when the
 * question does not continue what came before: the client begins again with a first part.
 */
size_t sl_smp_tunnel_serve(sl_smp_tunnel *tunnel, const uint8_t *in, size_t size, uint8_t *out, size_t room);

#endif
