/**
 * Server of the Simple Management Protocol (mcumgr): echo, parameters and reset of group 0, state, upload and erase of
 * group 1, and in group 64 what this board is and how long an image on trial may take. A state written with
 * {"revert": true} goes back to the image that ran before (sl_slot_revert). One packet in, one packet out; the lines are in smp-console.h and
 * smp-tunnel.h.
 *
 * Answers are of the version that was asked in: with version 1 an error of a group is {"rc": n} from mcumgr's common
 * table, with version 2 {"err": {"group": g, "rc": n}}. In both an image that is refused also says {"why": n}, an
 * `sl_image_status`.
 */
#ifndef SL_SMP_H
#define SL_SMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slots.h"

/** Longest packet in either direction; tells clients how large their chunks may be. */
#ifndef SL_SMP_MAX
#define SL_SMP_MAX 512u
#endif
#define SL_SMP_HEADER 8u
/** Group of our own: command 0 reads what the board is, command 1 writes {"trial": seconds}. */
#define SL_SMP_GROUP 64u
#define SL_SMP_TRIAL_MAX_S 86400u
/** Somebody has looked at the content of a slot, with what came of it. An application does not: it takes seconds. */
#define SL_SMP_SEEN 0x80u

typedef struct {
  const sl_layout *layout;
  const uint8_t *model_hash; /* 8 bytes of the running firmware, or NULL */
  int running;               /* slot that runs; in the bootloader the one it would start, or -1 */
  bool recovery;             /* this is the bootloader */
  uint16_t buffer;           /* longest packet that the line carries; at most SL_SMP_MAX */
  /* Kept by the server. */
  uint8_t content[SL_SLOTS]; /* SL_SMP_SEEN | sl_image_status of digest and signature, by the bootloader; 0 after a change */
  bool uploading;
  bool reset_wanted; /* the caller resets once the answer has left */
  bool confirmed;    /* a confirmation came through here since the start */
  uint32_t trial_s;  /* a gateway that hears this image gives it so much longer; the caller takes it and clears it */
  uint8_t slot;
  uint32_t total;
  uint32_t offset;
} sl_smp;

/** Begins with nothing under way. */
void sl_smp_start(sl_smp *smp, const sl_layout *layout, int running, bool recovery);

/** Whether the answer to this packet says what is in the slots: a bootloader looks at their content before. */
bool sl_smp_lists(const uint8_t *request, size_t size);

/**
 * Serves one packet. Returns the length of the answer in `answer`, which may be the buffer of the request only when they
 * do not overlap; 0 when what came is no request.
 */
size_t sl_smp_serve(sl_smp *smp, const uint8_t *request, size_t size, uint8_t *answer, size_t room);

#endif
