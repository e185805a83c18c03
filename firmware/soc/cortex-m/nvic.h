/** Interrupts of every Cortex-M. */
#ifndef SL_NVIC_H
#define SL_NVIC_H

#include <stdint.h>

#include "register.h"

static inline void sl_nvic_enable(uint32_t number) { SL_AT(0xE000E100u + 4u * (number / 32u)) = 1u << (number % 32u); }

static inline void sl_nvic_disable(uint32_t number) { SL_AT(0xE000E180u + 4u * (number / 32u)) = 1u << (number % 32u); }

static inline void sl_nvic_clear(uint32_t number) { SL_AT(0xE000E280u + 4u * (number / 32u)) = 1u << (number % 32u); }

/** Sleeps until an interrupt is pending, also a masked one. */
static inline void sl_wait_for_interrupt(void) { __asm volatile("dsb\n wfi\n isb" ::: "memory"); }

#endif
