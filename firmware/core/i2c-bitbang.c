#include "i2c-bitbang.h"

#include "hal.h"

#define HALF_US 5u
#define STRETCH_US 5000u

static void half(void) {
  const uint32_t start_us = sl_hal_now_us();
  while (sl_hal_now_us() - start_us < HALF_US) {
  }
}

static void sda(const sl_i2c_lines *lines, bool high) {
  lines->sda(lines->context, high);
  half();
}

/** Lets the clock go and waits until it is high: a device may hold it. */
static bool scl_up(const sl_i2c_lines *lines) {
  lines->scl(lines->context, true);
  const uint32_t start_us = sl_hal_now_us();
  while (!lines->scl_read(lines->context)) {
    if (sl_hal_now_us() - start_us > STRETCH_US) return false;
  }
  half();
  return true;
}

static void scl_down(const sl_i2c_lines *lines) {
  lines->scl(lines->context, false);
  half();
}

static bool start(const sl_i2c_lines *lines) {
  sda(lines, true);
  if (!scl_up(lines)) return false;
  sda(lines, false);
  scl_down(lines);
  return true;
}

static void stop(const sl_i2c_lines *lines) {
  sda(lines, false);
  (void)scl_up(lines);
  sda(lines, true);
}

/** True: acknowledged. */
static bool write_byte(const sl_i2c_lines *lines, uint8_t byte) {
  for (uint32_t bit = 0; bit < 8; bit++) {
    sda(lines, ((uint32_t)byte << bit & 0x80u) != 0);
    if (!scl_up(lines)) return false;
    scl_down(lines);
  }
  sda(lines, true);
  if (!scl_up(lines)) return false;
  const bool acknowledged = !lines->sda_read(lines->context);
  scl_down(lines);
  return acknowledged;
}

static bool read_byte(const sl_i2c_lines *lines, uint8_t *byte, bool last) {
  uint32_t bits = 0;
  sda(lines, true);
  for (uint32_t bit = 0; bit < 8; bit++) {
    if (!scl_up(lines)) return false;
    bits = bits << 1 | (lines->sda_read(lines->context) ? 1u : 0u);
    scl_down(lines);
  }
  sda(lines, last);
  if (!scl_up(lines)) return false;
  scl_down(lines);
  *byte = (uint8_t)bits;
  return true;
}

static bool transfer(const sl_i2c_lines *lines, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in,
                     size_t in_size) {
  if (out_size > 0 || in_size == 0) {
    if (!start(lines) || !write_byte(lines, (uint8_t)(address << 1))) return false;
    for (size_t i = 0; i < out_size; i++) {
      if (!write_byte(lines, out[i])) return false;
    }
  }
  if (in_size == 0) return true;
  if (!start(lines) || !write_byte(lines, (uint8_t)((uint32_t)address << 1 | 1u))) return false;
  for (size_t i = 0; i < in_size; i++) {
    if (!read_byte(lines, &in[i], i + 1 == in_size)) return false;
  }
  return true;
}

bool sl_i2c_transfer(const sl_i2c_lines *lines, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in,
                     size_t in_size) {
  const bool done = transfer(lines, address, out, out_size, in, in_size);
  stop(lines);
  return done;
}

typedef struct {
  uint8_t scl;
  uint8_t sda;
} pins;

static void let_go_or_pull(uint8_t pin, bool high) {
  if (high) {
    (void)sl_hal_pin_mode(pin, SL_PIN_INPUT_PULL_UP);
  } else {
    sl_hal_pin_write(pin, false);
    (void)sl_hal_pin_mode(pin, SL_PIN_OUTPUT);
  }
}

static void pin_scl(const void *context, bool high) { let_go_or_pull(((const pins *)context)->scl, high); }
static void pin_sda(const void *context, bool high) { let_go_or_pull(((const pins *)context)->sda, high); }
static bool pin_scl_read(const void *context) { return sl_hal_pin_read(((const pins *)context)->scl); }
static bool pin_sda_read(const void *context) { return sl_hal_pin_read(((const pins *)context)->sda); }

bool sl_i2c_over_pins(uint8_t scl, uint8_t sda_pin, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in,
                      size_t in_size) {
  const pins both = {scl, sda_pin};
  const sl_i2c_lines lines = {pin_scl, pin_sda, pin_scl_read, pin_sda_read, &both};
  return sl_i2c_transfer(&lines, address, out, out_size, in, in_size);
}
