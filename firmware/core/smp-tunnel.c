#include "smp-tunnel.h"

#include "memory.h"

void sl_smp_tunnel_start(sl_smp_tunnel *tunnel, sl_smp *smp) {
  tunnel->smp = smp;
  tunnel->taken = 0;
  tunnel->length = 0;
  tunnel->given = 0;
  tunnel->shown = 0;
  tunnel->asked = false;
  tunnel->answering = false;
}

/* The part of the answer that begins at `given`. */
static size_t part(sl_smp_tunnel *tunnel, uint8_t number, uint8_t *out, size_t room) {
  size_t left = (size_t)tunnel->length - tunnel->given;
  size_t size = left < SL_TUNNEL_PART ? left : SL_TUNNEL_PART;
  if (size + 1u > room) size = room - 1u;
  out[0] = (uint8_t)((tunnel->given == 0 ? SL_TUNNEL_FIRST : 0u) | (size < left ? SL_TUNNEL_MORE : 0u) | number);
  memcpy(out + 1, tunnel->answer + tunnel->given, size);
  tunnel->shown = (uint16_t)size;
  return size + 1u;
}

size_t sl_smp_tunnel_serve(sl_smp_tunnel *tunnel, const uint8_t *in, size_t size, uint8_t *out, size_t room) {
  if (size == 0 || room < 2u) return 0;
  uint8_t control = in[0];
  uint8_t number = control & SL_TUNNEL_NUMBER;
  size_t given = size - 1u;
  bool repeated = tunnel->asked && control == tunnel->last && given == tunnel->last_size;
  if (repeated && (control & SL_TUNNEL_FIRST) != 0) {
    /* Two requests of one part may follow each other with the same control byte: only the same bytes are the same one. */
    repeated = memcmp(tunnel->request, in + 1, given) == 0;
  }
  if (repeated) {
    if (tunnel->answering) return part(tunnel, number, out, room);
    out[0] = control;
    return 1;
  }
  if ((control & SL_TUNNEL_FIRST) != 0) {
    tunnel->taken = 0;
    tunnel->answering = false;
    if (number != 0) return 0;
  } else if (!tunnel->asked || number != ((tunnel->last + 1u) & SL_TUNNEL_NUMBER)) {
    tunnel->asked = false;
    return 0;
  }
  tunnel->asked = true;
  tunnel->last = control;
  tunnel->last_size = (uint8_t)given;
  if (tunnel->answering) {
    if (given != 0) return 0;
    tunnel->given = (uint16_t)(tunnel->given + tunnel->shown);
    return part(tunnel, number, out, room);
  }
  if (given > sizeof tunnel->request - tunnel->taken) {
    tunnel->asked = false;
    return 0;
  }
  memcpy(tunnel->request + tunnel->taken, in + 1, given);
  tunnel->taken = (uint16_t)(tunnel->taken + given);
  if ((control & SL_TUNNEL_MORE) != 0) {
    out[0] = control;
    return 1;
  }
  tunnel->length = (uint16_t)sl_smp_serve(tunnel->smp, tunnel->request, tunnel->taken, tunnel->answer, sizeof tunnel->answer);
  tunnel->given = 0;
  /* Without an answer nothing can be asked on for: `shown` is still that of the answer before. */
  tunnel->answering = tunnel->length != 0;
  tunnel->asked = tunnel->answering;
  return tunnel->answering ? part(tunnel, number, out, room) : 0;
}
