/**
 * The 256 bytes the boot ROM runs first (2.8.1.3.1): sets the flash interface to plain serial reads, command 0x03, which
 * every flash part understands, and goes on at the vector table behind. The build adds its CRC-32. Not linked with the
 * rest: it is copied into RAM and must not use any.
 */
#include "board.h"
#include "register.h"
#include "rp2040.h"

__attribute__((naked, used, section(".stage2"))) void sl_stage2(void) {
  __asm volatile(
      "ldr r3, =%c0\n"
      "movs r1, #0\n"
      "str r1, [r3, #0x08]\n" /* SSIENR: off while it changes */
      "movs r1, #4\n"
      "str r1, [r3, #0x14]\n" /* BAUDR: 125 MHz / 4 */
      "ldr r1, =0x001F0300\n"
      "str r1, [r3, #0x00]\n" /* CTRLR0: 32 bits a frame, EEPROM read */
      "movs r1, #0\n"
      "str r1, [r3, #0x04]\n" /* CTRLR1: one frame a read */
      "ldr r2, =0x18000000 + 0xF4\n"
      "ldr r1, =0x03000218\n"
      "str r1, [r2]\n" /* SPI_CTRLR0: command 0x03, 24 bits of address */
      "movs r1, #1\n"
      "str r1, [r3, #0x08]\n"
      "ldr r0, =%c1\n"
      "ldr r1, =0xE000ED08\n"
      "str r0, [r1]\n"
      "ldmia r0!, {r1, r2}\n"
      "msr msp, r1\n"
      "bx r2\n"
      ".ltorg\n" ::"i"(XIP_SSI),
      "i"(SL_FLASH_BASE + 0x100u));
}
