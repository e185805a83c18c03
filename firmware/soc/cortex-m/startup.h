/** Between startup code and the ports. */
#ifndef SL_STARTUP_H
#define SL_STARTUP_H

#include <stdbool.h>

#include "hal.h"

/** The port's: clocks, the free-running timer, why this boot happened. RAM is set up, interrupts are on. */
void sl_soc_start(void);

/** Why the bootloader that jumped here was started; false: nobody jumped, ask the chip. Once a boot. */
bool sl_take_reason(sl_reset_reason *reason);

/** Word of RAM kept over a reset that a port without a register for it may use. */
#define SL_KEPT_WORD (*(volatile uint32_t *)(uintptr_t)(SL_KEPT_ADDRESS + 8u))

_Noreturn void sl_reset_handler(void);
void sl_fault_handler(void);

#endif
