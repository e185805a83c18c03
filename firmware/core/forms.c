#include "forms.h"

/* By subtraction: the M0 has no divider. */
uint32_t sl_bcd_of(uint32_t value) {
  static const uint32_t powers[] = {10000000u, 1000000u, 100000u, 10000u, 1000u, 100u, 10u, 1u};
  uint32_t digits = 0;
  for (size_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
    uint32_t digit = 0;
    while (value >= powers[i] && digit < 9u) {
      value -= powers[i];
      digit++;
    }
    digits = digits << 4 | digit;
  }
  return digits;
}

bool sl_bcd_is_valid(uint32_t digits) {
  for (; digits != 0; digits >>= 4) {
    if ((digits & 15u) > 9u) return false;
  }
  return true;
}

uint32_t sl_bcd_value(uint32_t digits) {
  uint32_t value = 0;
  for (uint8_t shift = 32; shift > 0; shift = (uint8_t)(shift - 4u)) value = value * 10u + (digits >> (shift - 4u) & 15u);
  return value;
}

typedef union {
  float value;
  uint32_t bits;
} single;

/* On the bits alone, so that no soft float is linked for it. */
uint16_t sl_half_of(float value) {
  const single from = {.value = value};
  const uint32_t sign = from.bits >> 16 & 0x8000u;
  const uint32_t size = from.bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
  if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
  uint32_t whole;
  uint32_t rest;
  uint32_t half;
  if (size >= 0x38800000u) {
    whole = (size - 0x38000000u) >> 13;
    rest = size & 0x1fffu;
    half = 0x1000u;
  } else {
    const uint32_t drop = 126u - (size >> 23);
    if (drop > 24u) return (uint16_t)sign;
    const uint32_t fraction = (size & 0x7fffffu) | 0x800000u;
    whole = drop == 24u ? 0 : fraction >> drop;
    rest = fraction & ((1u << drop) - 1u);
    half = 1u << (drop - 1u);
  }
  if (rest > half || (rest == half && (whole & 1u) != 0)) whole++;
  return (uint16_t)(sign | whole);
}

float sl_half_value(uint16_t half) {
  single to = {.bits = ((uint32_t)half & 0x8000u) << 16};
  uint32_t exponent = (uint32_t)half >> 10 & 31u;
  uint32_t fraction = half & 1023u;
  if (exponent == 31u) {
    to.bits |= 0x7f800000u | fraction << 13;
  } else if (exponent != 0) {
    to.bits |= (exponent + 112u) << 23 | fraction << 13;
  } else if (fraction != 0) {
    exponent = 113u;
    while ((fraction & 1024u) == 0) {
      fraction <<= 1;
      exponent--;
    }
    to.bits |= exponent << 23 | (fraction & 1023u) << 13;
  }
  return to.value;
}

void sl_text_to_wire(uint8_t *wire, uint16_t registers, uint8_t form, const char *text) {
  const uint32_t swap = (form & SL_TEXT_SWAPPED) != 0 ? 1u : 0u;
  for (uint32_t at = 0; at < 2u * (uint32_t)registers; at++) {
    const bool holds = (form & ((at & 1u) == 0 ? SL_TEXT_HIGH : SL_TEXT_LOW)) != 0;
    wire[at ^ swap] = holds ? (uint8_t)*text : 0;
    if (holds && *text != '\0') text++;
  }
}

void sl_text_from_wire(char *text, const uint8_t *wire, uint16_t registers, uint8_t form) {
  const uint32_t swap = (form & SL_TEXT_SWAPPED) != 0 ? 1u : 0u;
  for (uint32_t at = 0; at < 2u * (uint32_t)registers; at++) {
    if ((form & ((at & 1u) == 0 ? SL_TEXT_HIGH : SL_TEXT_LOW)) == 0) continue;
    const uint8_t byte = wire[at ^ swap];
    if (byte == 0) break;
    *text++ = (char)byte;
  }
  *text = '\0';
}

bool sl_text_fits(const char *text, size_t room) {
  for (size_t at = 0; at < room; at++) {
    if (text[at] == '\0') return true;
  }
  return false;
}

void sl_copy_text(char *to, const char *text, size_t room) {
  bool ended = false;
  for (size_t at = 0; at < room; at++) {
    ended = ended || text[at] == '\0';
    to[at] = ended ? '\0' : text[at];
  }
}

bool sl_same_text(const char *one, const char *other) {
  for (; *one == *other; one++, other++) {
    if (*one == '\0') return true;
  }
  return false;
}

void sl_swap_bytes(uint8_t *to, const uint8_t *from, uint16_t registers) {
  for (uint32_t at = 0; at < 2u * (uint32_t)registers; at++) to[at] = from[at ^ 1u];
}
