/** SMP on the first serial line, before anything is started: the way in when nothing else is left. */
#ifndef SL_RECOVERY_H
#define SL_RECOVERY_H

#include "choose.h"

/**
 * Listens for `patience_ms`; comes back when nobody has sent a packet and there is something to start. From the first
 * packet on it stays until it is told to reset or has heard nothing for long; without an image it stays for ever.
 */
void sl_boot_recover(const sl_boot_choice *choice, const sl_boot_trust *trust, uint32_t patience_ms);

#endif
