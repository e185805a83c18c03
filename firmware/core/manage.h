/**
 * Management of a running application: SMP through Modbus function 0x41 on the lines that serve its registers. Put
 * `sl_manage_user` and `sl_boot_word` into sl_app, call `sl_manage_start` in its setup and `sl_manage_loop` in its loop.
 */
#ifndef SL_MANAGE_H
#define SL_MANAGE_H

#include <stddef.h>
#include <stdint.h>

/** `model_hash`: 8 bytes of the running firmware. */
void sl_manage_start(const uint8_t *model_hash);

/** An `sl_user_function`: serves one part of a management packet. */
size_t sl_manage_user(const uint8_t *in, size_t size, uint8_t *out, size_t room);

/** Serves a whole SMP packet, wherever it came from; gives the length of the answer, 0 for none. */
size_t sl_manage_serve(const uint8_t *request, size_t size, uint8_t *answer, size_t room);

/**
 * Resets some time after it was asked to, so that the answer leaves; tells the bootloader that this image runs well. An
 * image on trial that nobody confirms within SL_TRIAL_S seconds, or what the gateway asked for, is started over.
 */
void sl_manage_loop(void);

#endif
