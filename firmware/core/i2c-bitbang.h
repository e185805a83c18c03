/**
 * An I2C master on two lines that it pulls low or lets go, at under 100 kHz: one implementation for every SoC, instead of
 * one driver for each SoC's controller and its errata. Waits for a device that stretches the clock, up to 5 ms.
 */
#ifndef SL_I2C_BITBANG_H
#define SL_I2C_BITBANG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  void (*scl)(const void *context, bool high); /* high: let go */
  void (*sda)(const void *context, bool high);
  bool (*scl_read)(const void *context);
  bool (*sda_read)(const void *context);
  const void *context;
} sl_i2c_lines;

/** As `sl_hal_i2c_transfer`. */
bool sl_i2c_transfer(const sl_i2c_lines *lines, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in,
                     size_t in_size);

/** The same on two pins of the chip. */
bool sl_i2c_over_pins(uint8_t scl, uint8_t sda, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in,
                      size_t in_size);

#endif
