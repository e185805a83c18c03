/** Between startup code and the ports. */
#ifndef SL_STARTUP_H
#define SL_STARTUP_H

/** The port's: clocks, the free-running timer, why this boot happened. RAM is set up, interrupts are on. */
void sl_soc_start(void);

_Noreturn void sl_reset_handler(void);
void sl_fault_handler(void);

#endif
