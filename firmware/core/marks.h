/**
 * Facts in NOR flash that are either there or not, whatever moment the power went.
 *
 * A mark is a number beside its complement. Programming clears bits and never sets them: a write that was cut short
 * leaves a bit set on both sides, so what is torn never reads as any number. A tick is a word that is no longer blank.
 */
#ifndef SL_MARKS_H
#define SL_MARKS_H

#include <stdbool.h>
#include <stdint.h>

/** Bytes of a cell. */
#define SL_MARK_SIZE 8u

/** Whether `size` bytes (a multiple of 4) are erased. */
bool sl_mark_blank(uint32_t at, uint32_t size);

/** The last number among `cells` cells, or 0. Numbers are neither 0 nor 0xFFFFFFFF. */
uint32_t sl_mark_read(uint32_t at, unsigned cells);

/** Writes a number in the first blank cell and reads it back; tries the next ones when the flash did not take it. */
bool sl_mark_write(uint32_t at, unsigned cells, uint32_t number);

/** Makes a blank word zero. True when it is no longer blank. */
bool sl_mark_tick(uint32_t at);

#endif
