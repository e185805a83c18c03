/** What the STM32 ports share: register numbers of RM0008, RM0041 and RM0090, and what each family adds. */
#ifndef SL_STM32_H
#define SL_STM32_H

#include <stdbool.h>
#include <stdint.h>

#include "hal.h"

/* Pins are numbered 16 * port + pin: PA9 is 9, PB10 is 26. */

/** The family's: clocks on, blocks enabled, the processor at SL_CLOCK_HZ. */
void sl_stm32_start_clocks(void);
/** The family's: a pin for a serial line. */
void sl_stm32_uart_pin(uint8_t pin, bool transmits, uint8_t function);
/** The family's: bits 26 to 31 of RCC_CSR, which are cleared. */
uint32_t sl_stm32_reset_bits(void);
/** The family's: where the 96 bits of identity are. */
uint32_t sl_stm32_id_address(void);

/** Waits for bits of a clock register, but not for ever: a crystal may be missing, and an emulator has none. */
bool sl_stm32_wait(uint32_t address, uint32_t mask, uint32_t wanted);

#endif
