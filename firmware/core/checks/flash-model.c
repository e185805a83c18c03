#include "flash-model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../hal.h"

model_flash model;
jmp_buf model_power_lost;
static uint32_t operations;
static uint32_t cut;
static uint32_t state = 1;

void model_cut_at(uint32_t operation) {
  cut = operation;
  operations = 0;
}

uint32_t model_operations(void) {
  return operations;
}

void model_seed(uint32_t seed) {
  state = seed * 2654435761u + 1u;
}

uint32_t model_random(void) {
  /* xorshift32 */
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

void model_erase_all(void) {
  memset(model.bytes, 0xFF, sizeof model.bytes);
  memset(model.writes, 0, sizeof model.writes);
}

static void broken(const char *rule, uint32_t address) {
  fprintf(stderr, "contract of the flash broken at 0x%x: %s\n", (unsigned)address, rule);
  abort();
}

static uint32_t offset_of(uint32_t address, uint32_t size, uint32_t multiple) {
  if (address < MODEL_BASE || size > MODEL_SIZE || address - MODEL_BASE > MODEL_SIZE - size) broken("outside", address);
  if (address % multiple != 0 || size % multiple != 0) broken("alignment", address);
  return address - MODEL_BASE;
}

bool sl_hal_flash_read(uint32_t address, void *to, uint32_t size) {
  if (address < MODEL_BASE || size > MODEL_SIZE || address - MODEL_BASE > MODEL_SIZE - size) return false;
  memcpy(to, model.bytes + (address - MODEL_BASE), size);
  return true;
}

static bool power_goes(void) {
  return ++operations == cut;
}

bool sl_hal_flash_erase(uint32_t address, uint32_t size) {
  uint32_t offset = offset_of(address, size, MODEL_PAGE);
  for (uint32_t page = offset; page < offset + size; page += MODEL_PAGE) {
    if (!power_goes()) {
      memset(model.bytes + page, 0xFF, MODEL_PAGE);
      memset(model.writes + page / 4u, 0, MODEL_PAGE / 4u);
      continue;
    }
    uint32_t how = model_random() % 5u;
    for (uint32_t i = page; i < page + MODEL_PAGE; i++) {
      uint8_t noise = (uint8_t)model_random();
      if (how == 1) model.bytes[i] |= noise;               /* some cells are through */
      else if (how == 2) model.bytes[i] |= noise & (uint8_t)model_random(); /* few are */
      else if (how == 3) model.bytes[i] = noise;           /* anything */
      else if (how == 4) model.bytes[i] = 0;               /* some parts program everything before they erase */
    }
    longjmp(model_power_lost, 1);
  }
  return true;
}

bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  uint32_t offset = offset_of(address, size, 4);
  const uint8_t *bytes = from;
  bool whole_row = (model_random() & 1u) != 0; /* parts that program a row at once tear all of it */
  for (uint32_t word = 0; word < size; word += 4) {
    uint8_t *cell = model.bytes + offset + word;
    uint8_t *writes = &model.writes[(offset + word) / 4u];
    bool zero = (bytes[word] | bytes[word + 1] | bytes[word + 2] | bytes[word + 3]) == 0;
    bool blank = (cell[0] & cell[1] & cell[2] & cell[3]) == 0xFF;
    if (*writes >= 2 || (!blank && !zero)) broken("a word written too often", address + word);
    (*writes)++;
    if (!power_goes()) {
      for (unsigned i = 0; i < 4; i++) cell[i] &= bytes[word + i];
      continue;
    }
    uint32_t end = whole_row ? size : word + 4;
    for (uint32_t i = word; i < end; i++) model.bytes[offset + i] &= bytes[i] | (uint8_t)model_random();
    longjmp(model_power_lost, 1);
  }
  return true;
}

void sl_hal_watchdog_feed(void) {}

void sl_hal_unique_id(uint8_t id[8]) {
  memcpy(id, "hostflsh", 8);
}

sl_reset_reason sl_hal_reset_reason(void) {
  return SL_RESET_POWER;
}
