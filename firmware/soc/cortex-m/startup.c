/** From reset to main, and what every Cortex-M does alike. The vector table itself is generated for the board. */
#include "board.h"
#include "hal.h"
#include "nvic.h"
#include "startup.h"

/* Symbols of the generated linker script; only their addresses mean anything. */
extern uint32_t sl_data_load[];
extern uint32_t sl_data_start[];
extern uint32_t sl_data_end[];
extern uint32_t sl_bss_start[];
extern uint32_t sl_bss_end[];
#if SL_IMAGE_IS_BOOT && !SL_HAS_VTOR
extern const uint32_t sl_own_vectors[];
#endif

int main(void);

/* Not memcpy: gcc may assume of that what does not hold before RAM is set up. */
_Noreturn void sl_reset_handler(void) {
  const uint32_t *from = sl_data_load;
  /* Symbols of the linker script are ends of one object. */
  /* cppcheck-suppress comparePointers */
  for (uint32_t *to = sl_data_start; to < sl_data_end; to++) *to = *from++;
  /* cppcheck-suppress comparePointers */
  for (uint32_t *to = sl_bss_start; to < sl_bss_end; to++) *to = 0;
#if SL_IMAGE_IS_BOOT && !SL_HAS_VTOR
  /* The trampolines at 0 go through the note, which holds anything after power-on and an application's after a reset. */
  sl_hal_note()[SL_NOTE_VECTORS] = (uint32_t)(uintptr_t)sl_own_vectors;
#endif
  sl_soc_start();
  (void)main();
  sl_hal_reset();
}

/** A board that cannot go on starts over; the reason of the reset tells. */
void sl_fault_handler(void) { sl_hal_reset(); }

uint32_t sl_hal_irq_off(void) {
  uint32_t state;
  __asm volatile("mrs %0, primask\n cpsid i" : "=r"(state)::"memory");
  return state;
}

void sl_hal_irq_restore(uint32_t state) { __asm volatile("msr primask, %0" ::"r"(state) : "memory"); }

volatile uint32_t *sl_hal_note(void) { return (volatile uint32_t *)(uintptr_t)SL_NOTE_ADDRESS; }

/* Reading why a boot happened clears it in most chips; a bootloader that goes on to an image leaves it here. */
#define HANDED_OVER 0x484F0000u

bool sl_take_reason(sl_reset_reason *reason) {
  volatile uint32_t *kept = (volatile uint32_t *)(uintptr_t)SL_KEPT_ADDRESS;
  const uint32_t word = kept[0];
  const bool there = (word & 0xFFFF0000u) == HANDED_OVER && kept[1] == ~word;
  kept[0] = 0;
  if (there) *reason = (sl_reset_reason)(word & 0xFFu);
  return there;
}

_Noreturn void sl_hal_jump(uint32_t vectors) {
  (void)sl_hal_irq_off();
  volatile uint32_t *kept = (volatile uint32_t *)(uintptr_t)SL_KEPT_ADDRESS;
  kept[0] = HANDED_OVER | (uint32_t)sl_hal_reset_reason();
  kept[1] = ~kept[0];
  SL_AT(0xE000E010u) = 0; /* SysTick */
  for (uint32_t i = 0; i < (SL_INTERRUPT_COUNT + 31u) / 32u; i++) {
    SL_AT(0xE000E180u + 4u * i) = 0xFFFFFFFFu;
    SL_AT(0xE000E280u + 4u * i) = 0xFFFFFFFFu;
  }
#if SL_HAS_VTOR
  SL_AT(0xE000ED08u) = vectors;
#else
  sl_hal_note()[SL_NOTE_VECTORS] = vectors;
#endif
  const uint32_t stack = SL_AT(vectors);
  const uint32_t entry = SL_AT(vectors + 4u);
  /* Interrupts are on after a reset; an image may count on it. */
  __asm volatile("dsb\n isb\n msr msp, %0\n cpsie i\n bx %1" ::"r"(stack), "r"(entry) : "memory");
  __builtin_unreachable();
}
