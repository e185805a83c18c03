/**
 * What bootloader and application tell each other in the note of hal.h, which a reset keeps and a power cut does not.
 *
 *   word 1   slot in bits 0 to 7, mark (sl_mark) in 8 to 15, attempts in 16 to 23
 *   word 2   why slot A, slot B was not taken (sl_image_status), in bits 0 to 7 and 8 to 15
 *   word 3   resets in a row by watchdog or lockup
 *   word 4   SL_NOTE_RECOVERY: the application asks for the bootloader's recovery
 */
#ifndef SL_BOOT_NOTE_H
#define SL_BOOT_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "hal.h"

enum { SL_NOTE_STARTED = 1, SL_NOTE_WHY = 2, SL_NOTE_CRASHES = 3, SL_NOTE_REQUEST = 4 };
#define SL_NOTE_RECOVERY 0x52435659u

/** The slot that the bootloader started, or -1 without one. */
int sl_boot_slot(void);

/**
 * For the register block of the runtime (`boot_state` of sl_app). 0: the slot, 0xFFFF without a bootloader. 1: mark in
 * bits 0 to 3, attempts in 4 to 7, in 8 to 15 why the other slot was not taken.
 */
uint16_t sl_boot_word(uint16_t which);

/** The application has run long enough that a later crash is a new story; call it after a minute. */
void sl_boot_settled(void);

/** Restarts into the bootloader's recovery. */
_Noreturn void sl_boot_recovery(void);

#endif
