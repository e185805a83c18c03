/** Between the files of the SMP server. */
#ifndef SL_SMP_INTERNAL_H
#define SL_SMP_INTERNAL_H

#include "cbor.h"
#include "smp.h"

/** mcumgr's common results. */
enum {
  SL_SMP_OK = 0,
  SL_SMP_UNKNOWN = 1,
  SL_SMP_INVALID = 3,
  SL_SMP_NO_ENTRY = 5,
  SL_SMP_BAD_STATE = 6,
  SL_SMP_TOO_LARGE = 7,
  SL_SMP_NOT_SUPPORTED = 8,
  SL_SMP_CORRUPT = 9
};

typedef struct {
  sl_cbor_in in;   /* behind the head of the request's map */
  uint32_t fields; /* of that map, or SL_CBOR_INDEFINITE */
  sl_cbor_out out;
  uint8_t rc;
  uint8_t why; /* sl_image_status */
} sl_smp_call;

/**
 * The next field of the request: its name and the head of its value. False at the end. `*broken` when it is no map of
 * texts. A value that the caller does not want has to be skipped.
 */
bool sl_smp_field(sl_smp_call *call, sl_cbor_item *name, sl_cbor_item *value);

/** Group 1. Each writes a whole map into `call->out` or sets `rc`. */
void sl_smp_image_list(sl_smp *smp, sl_smp_call *call);
void sl_smp_image_state(sl_smp *smp, sl_smp_call *call);
void sl_smp_image_upload(sl_smp *smp, sl_smp_call *call);
void sl_smp_image_erase(sl_smp *smp, sl_smp_call *call);

#endif
