/*
 * The security counter: a log of marks in two pages. The highest one counts; a full page is followed in the other one,
 * whose numbers are all lower and may be erased at any time.
 */
#include "hal.h"
#include "marks.h"
#include "slots.h"

static uint32_t highest(uint32_t page, uint32_t size) {
  uint32_t most = 0;
  for (uint32_t at = 0; at < size; at += SL_MARK_SIZE) {
    uint32_t number = sl_mark_read(page + at, 1);
    if (number > most) most = number;
  }
  return most;
}

uint32_t sl_counter_read(const sl_layout *layout) {
  uint32_t one = highest(layout->counter, layout->page);
  uint32_t other = highest(layout->counter + layout->page, layout->page);
  return one > other ? one : other;
}

bool sl_counter_raise(const sl_layout *layout, uint32_t value) {
  if (value == 0xFFFFFFFFu) return false;
  uint32_t one = highest(layout->counter, layout->page);
  uint32_t other = highest(layout->counter + layout->page, layout->page);
  if (value <= (one > other ? one : other)) return true;
  uint32_t active = layout->counter + (other > one ? layout->page : 0u);
  uint32_t spare = layout->counter + (other > one ? 0u : layout->page);
  unsigned cells = (unsigned)(layout->page / SL_MARK_SIZE);
  if (sl_mark_write(active, cells, value)) return true;
  return sl_hal_flash_erase(spare, layout->page) && sl_mark_write(spare, cells, value);
}
