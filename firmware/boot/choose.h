/** Which image this boot starts. Knows the flash and nothing else of the board, so that it is tested on any machine. */
#ifndef SL_CHOOSE_H
#define SL_CHOOSE_H

#include "../core/smp.h"

typedef struct {
  const sl_image_key *keys;
  size_t key_count;
  bool production;
} sl_boot_trust;

typedef struct {
  int slot;                /* to start, or -1: nothing here may be started */
  uint32_t vectors;        /* address of its vector table */
  sl_mark mark;            /* of the chosen slot, before this boot was counted */
  uint8_t attempts;        /* of a pending image, with this one */
  uint8_t why[SL_SLOTS];   /* sl_image_status of each slot; 0 also when it was not needed */
} sl_boot_choice;

/**
 * Goes through the slots in their order, checks content and signature, and takes the first that passes. Nothing is written: sl_boot_commit does that, right before the jump.
 */
void sl_boot_choose(const sl_layout *layout, const sl_boot_trust *trust, sl_boot_choice *choice);

/** Tells the SMP server of recovery what the choice found out about the content of the slots. */
void sl_boot_tell(const sl_boot_choice *choice, sl_smp *smp);

/**
 * Checks digest and signature of what nobody has looked at since it changed: a slot behind the chosen one, a new upload.
 * That takes a slow board seconds, so it is done once, when somebody asks what is in the slots.
 */
void sl_boot_look(const sl_layout *layout, const sl_boot_trust *trust, sl_smp *smp);

/**
 * Writes down what this boot decided: refusals, one attempt of a pending image, the security counter of a confirmed one
 * (should power have gone between the two halves of a confirmation). False: the attempt could not be written, and the
 * image must not be started, because nothing would ever end its trial.
 */
bool sl_boot_commit(const sl_layout *layout, const sl_boot_choice *choice);

#endif
