/**
 * Vectors of a processor that cannot move them (Cortex-M0 without VTOR): every entry of the table at 0 is this, and it
 * goes on at the same entry of the table whose address is in the note. The bootloader starts with its own table there.
 */
#include "board.h"

/* An exception has saved r0 to r3 and r12, so that they are free; lr holds what returns from it. */
__attribute__((naked)) void sl_trampoline(void) {
  __asm volatile(
      ".syntax unified\n"
      "mrs r0, ipsr\n"
      "lsls r0, r0, #2\n"
      "ldr r1, =%c0\n"
      "ldr r1, [r1]\n"
      "ldr r0, [r1, r0]\n"
      "bx r0\n"
      ".ltorg\n" ::"i"(SL_NOTE_ADDRESS + 28u));
}
