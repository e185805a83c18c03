/** Values whose form on the wire is not the processor's: BCD, half floats, text. Used by generated register tables. */
#ifndef SL_FORMS_H
#define SL_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool sl_word_is_set(uint16_t word) { return word != 0; }

/** Up to 99999999; four bits a digit. */
uint32_t sl_bcd_of(uint32_t value);
/** False: a digit is above 9. */
bool sl_bcd_is_valid(uint32_t digits);
uint32_t sl_bcd_value(uint32_t digits);

/** IEEE 754 binary16, rounded to the nearest, ties to even; beyond 65504 infinity. */
uint16_t sl_half_of(float value);
float sl_half_value(uint16_t half);

/** Which bytes of a register hold text, and whether bytes are swapped within registers. */
enum { SL_TEXT_HIGH = 1, SL_TEXT_LOW = 2, SL_TEXT_BOTH = 3, SL_TEXT_SWAPPED = 4 };

/** Puts text into registers, filled up with zeros. */
void sl_text_to_wire(uint8_t *wire, uint16_t registers, uint8_t form, const char *text);
/** Takes text from registers: `text` has room for all of it and a zero. It ends at the first zero. */
void sl_text_from_wire(char *text, const uint8_t *wire, uint16_t registers, uint8_t form);

/** Whether text with its end fits; the rest is filled with zeros, so that equal texts are equal memory. */
bool sl_text_fits(const char *text, size_t room);
void sl_copy_text(char *to, const char *text, size_t room);
bool sl_same_text(const char *one, const char *other);

/** Copies whole registers with their bytes swapped. */
void sl_swap_bytes(uint8_t *to, const uint8_t *from, uint16_t registers);

#endif
