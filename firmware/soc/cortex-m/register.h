/** A register of the chip at an address. */
#ifndef SL_REGISTER_H
#define SL_REGISTER_H

#include <stdint.h>

#define SL_AT(address) (*(volatile uint32_t *)(uintptr_t)(address))

#endif
