/**
 * The layout of the board that is being compiled for, from the generated board.h. The first two pages of its settings
 * hold the security counter, the others the settings of the application.
 */
#ifndef SL_LAYOUT_H
#define SL_LAYOUT_H

#include "board.h"
#include "slots.h"

#define SL_COUNTER_PAGES 2u
#define SL_SETTINGS_LOG_ADDRESS (SL_SETTINGS_ADDRESS + SL_COUNTER_PAGES * SL_FLASH_PAGE)
#define SL_SETTINGS_LOG_BANKS (SL_SETTINGS_SIZE / SL_FLASH_PAGE - SL_COUNTER_PAGES)

_Static_assert(SL_SETTINGS_LOG_BANKS >= 2u, "the settings of this board need four pages");
_Static_assert(SL_FLASH_PAGE >= 1024u, "the trailer of a slot needs 1024 bytes");
_Static_assert(SL_SLOT_A_SIZE / SL_FLASH_PAGE <= (SL_FLASH_PAGE - SL_TRAILER_PROGRESS) / 4u, "too many pages for the trailer");

static const sl_layout sl_board_layout = {
  .slot = {SL_SLOT_A_ADDRESS, SL_SLOT_B_ADDRESS},
  .slot_size = SL_SLOT_A_SIZE,
  .page = SL_FLASH_PAGE,
  .counter = SL_SETTINGS_ADDRESS,
  .board = SL_BOARD,
};

#endif
