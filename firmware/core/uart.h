/**
 * Bytes between interrupts and the main loop. Every received byte carries what its frame needs to know about the silence
 * before it: that is measured in the interrupt, from the free-running timer, because a main loop that was away would
 * see two frames as one.
 */
#ifndef SL_UART_H
#define SL_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hal.h"

/** At least t3.5 of silence came before this byte. */
#define SL_UART_GAP 0x0100u
/** So long a silence that nothing before it can belong to what follows. */
#define SL_UART_PAUSE 0x0200u
/** This byte, or one before it, was damaged or lost: parity, framing, overrun. */
#define SL_UART_DAMAGED 0x0400u

/**
 * Opens a line. `gap_us` is its t3.5, `pause_us` the silence that nothing survives (at least `gap_us`).
 * False: the board has no such line.
 */
bool sl_uart_open(uint8_t port, const sl_uart_line *line, uint32_t gap_us, uint32_t pause_us);

/** The next byte in bits 0 to 7 with the flags above, or -1. */
int32_t sl_uart_read(uint8_t port);

/** Whether anything waits to be read. Interrupts may be on or off. */
bool sl_uart_waiting(uint8_t port);

/** Microseconds since the last byte came. */
uint32_t sl_uart_silence_us(uint8_t port);

/** Starts to send. `bytes` must stay as they are until `sl_uart_sending` is false. */
void sl_uart_send(uint8_t port, const uint8_t *bytes, size_t size);
bool sl_uart_sending(uint8_t port);

/** For the ports' interrupts: a byte came, or (`damaged`) something that was none. */
void sl_uart_received(uint8_t port, uint8_t byte, bool damaged);

/** For the ports' interrupts: the next byte to send, or -1. */
int32_t sl_uart_next(uint8_t port);

/** 3.5 characters in microseconds: of 11 bits up to 19 200 baud, 1750 us above (serial line V1.02, section 2.5.1.1). */
uint32_t sl_uart_t35_us(uint32_t baud);

#endif
