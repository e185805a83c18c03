/** Addresses shared by the parts of the RP2040 port: RP2040 datasheet, section 2.2 and the chapters of each block. */
#ifndef SL_RP2040_H
#define SL_RP2040_H

#define RESETS 0x4000C000u
#define CLOCKS 0x40008000u
#define IO_BANK0 0x40014000u
#define PADS_BANK0 0x4001C000u
#define XOSC 0x40024000u
#define PLL_SYS 0x40028000u
#define UART0 0x40034000u
#define UART1 0x40038000u
#define ADC 0x4004C000u
#define TIMER 0x40054000u
#define WATCHDOG 0x40058000u
#define CHIP_RESET 0x40064008u /* VREG_AND_CHIP_RESET, CHIP_RESET */
#define SIO 0xD0000000u
#define XIP_SSI 0x18000000u

/** Every register has aliases that set and clear bits. */
#define SET_BITS(address) SL_AT((address) + 0x2000u)
#define CLEAR_BITS(address) SL_AT((address) + 0x3000u)

#define RESET_ADC (1u << 0)
#define RESET_IO_BANK0 (1u << 5)
#define RESET_PADS_BANK0 (1u << 8)
#define RESET_PLL_SYS (1u << 12)
#define RESET_TIMER (1u << 21)
#define RESET_UART0 (1u << 22)
#define RESET_UART1 (1u << 23)

#endif
