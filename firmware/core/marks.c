#include "marks.h"

#include "hal.h"

bool sl_mark_blank(uint32_t at, uint32_t size) {
  for (uint32_t i = 0; i < size; i += 4u) {
    uint32_t word;
    if (!sl_hal_flash_read(at + i, &word, sizeof word) || word != 0xFFFFFFFFu) return false;
  }
  return true;
}

uint32_t sl_mark_read(uint32_t at, unsigned cells) {
  uint32_t number = 0;
  for (; cells > 0; cells--, at += SL_MARK_SIZE) {
    uint32_t cell[2];
    if (sl_hal_flash_read(at, cell, sizeof cell) && cell[0] == ~cell[1]) {
      /* All ones and all zeros are what a worn or half-erased cell reads. */
      if (cell[0] != 0 && cell[1] != 0) number = cell[0];
    }
  }
  return number;
}

bool sl_mark_write(uint32_t at, unsigned cells, uint32_t number) {
  const uint32_t cell[2] = {number, ~number};
  for (; cells > 0; cells--, at += SL_MARK_SIZE) {
    if (!sl_mark_blank(at, SL_MARK_SIZE)) continue;
    if (sl_hal_flash_program(at, cell, sizeof cell) && sl_mark_read(at, 1) == number) return true;
  }
  return false;
}

bool sl_mark_tick(uint32_t at) {
  const uint32_t zero = 0;
  return sl_hal_flash_program(at, &zero, sizeof zero) && !sl_mark_blank(at, 4);
}
