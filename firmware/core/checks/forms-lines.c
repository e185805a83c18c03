/** Says what forms.c makes of numbers on standard input, a line each: `h HALF`, `f FLOAT-BITS`, `d DIGITS`, `b NUMBER`. */
#include <inttypes.h>
#include <stdio.h>

#include "forms.h"

int main(void) {
  char kind;
  uint32_t number;
  while (scanf(" %c %" SCNu32, &kind, &number) == 2) {
    union {
      float value;
      uint32_t bits;
    } single = {.bits = number};
    if (kind == 'h') {
      single.value = sl_half_value((uint16_t)number);
      printf("%" PRIu32 "\n", single.bits);
    } else if (kind == 'f') {
      printf("%u\n", (unsigned)sl_half_of(single.value));
    } else if (kind == 'd') {
      printf("%d %" PRIu32 "\n", sl_bcd_is_valid(number), sl_bcd_value(number));
    } else {
      printf("%" PRIu32 "\n", sl_bcd_of(number));
    }
  }
  return 0;
}
