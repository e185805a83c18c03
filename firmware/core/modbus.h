/**
 * The Modbus server: one request PDU in, one answer PDU out (application protocol V1.1b3). Knows nothing of lines.
 * Functions 1 to 6, 8 (subfunctions 0, 1, 2, 10 to 15, 18), 15, 16, 22, 23 and 43/14; every other one is exception 1.
 */
#ifndef SL_MODBUS_H
#define SL_MODBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "registers.h"
#include "rtu.h"

/** Longest PDU, request or answer. */
#define SL_PDU_MAX 253u

/** Function 0x41 carries management (SMP) on a bus: one byte with the length of what follows, then that. */
#define SL_USER_FUNCTION 0x41u

/** What function 43/14 tells; a NULL object is not there. The first three are always there. */
typedef struct {
  /** Vendor name, product code, revision, vendor URL, product name, model name, application name. */
  const char *objects[7];
  /** Objects 0x80 on: 0x80 is the model hash in hexadecimal. */
  const char *const *extended;
  uint8_t extended_count;
} sl_identity;

/** Takes `size` bytes, puts its answer into `out`, returns its length; 0: there is none (exception 4). */
typedef size_t (*sl_user_function)(const uint8_t *in, size_t size, uint8_t *out, size_t room);

typedef struct {
  const sl_register_map *map;
  const sl_identity *identity;
  sl_user_function user; /* NULL: no function 0x41 */
  const sl_rtu_counters *line;
  sl_rtu_counters line_from; /* the line's counters when they were last cleared */
  uint16_t served;           /* requests to this unit */
  uint16_t exceptions;
  uint16_t unanswered;
} sl_modbus;

/**
 * Serves one request of `size` bytes. Returns the length of the answer in `answer` (SL_PDU_MAX bytes); 0 for a
 * broadcast, which only writes are taken from, and for an empty request.
 */
size_t sl_modbus_serve(sl_modbus *server, const uint8_t *request, size_t size, bool broadcast, uint8_t *answer);

#endif
