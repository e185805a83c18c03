/**
 * Two slots of which one runs: what the flash remembers about them, and which one a boot may start.
 *
 * The last page of a slot is its trailer. Everything there is written once between two erases, whole words only, and is
 * either complete or not there: marks are magic numbers or numbers beside their complement, in which a torn write shows
 * because programming only ever clears bits. Each mark has spare cells, since a torn word may not be written again.
 *
 *   page of the trailer        0x00  upload: magic, total size, SHA-256 of the file, CRC      0x2C  upload is void
 *   (offsets in it)            0x40  pending, 4 cells of 8 bytes                              0x60  confirmed, 4 cells
 *                              0x80  boot attempts, a word each                               0xA0  refusal, 2 cells
 *                              0xC0  pages written by the upload, a word each
 *
 * Order of a boot: a pending image with attempts left; confirmed ones, the newest confirmation first; one that was never
 * marked (flashed in the factory or by a debugger); at the very last one whose attempts are used up. The running slot is
 * never written to, and the other one only while the running image is confirmed: there is always an image to fall back to.
 */
#ifndef SL_SLOTS_H
#define SL_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

#define SL_SLOTS 2u
/** Starts that a pending image gets before the other one is taken again. */
#define SL_SLOT_ATTEMPTS 3u
#define SL_TRAILER_PROGRESS 0xC0u

typedef struct {
  uint32_t slot[SL_SLOTS]; /* addresses, multiples of a page */
  uint32_t slot_size;      /* bytes with the trailer page */
  uint32_t page;           /* at least 1024 bytes; (page - 0xC0) / 4 is at least the number of pages of a slot */
  uint32_t counter;        /* address of two pages of their own for the security counter */
  const char *board;
} sl_layout;

typedef enum { SL_MARK_NONE, SL_MARK_PENDING, SL_MARK_CONFIRMED, SL_MARK_EXHAUSTED } sl_mark;

typedef struct {
  sl_image_status status; /* of shape and place; content and signature are not looked at */
  sl_image image;
  sl_mark mark;
  uint8_t attempts;        /* starts while pending */
  uint8_t refusal;         /* sl_image_status that a bootloader wrote down, or 0 */
  uint32_t confirmation;   /* grows with every confirmation on this device; 0: never confirmed */
} sl_slot_view;

/** Bytes of a slot that an image may have. */
static inline uint32_t sl_slot_room(const sl_layout *layout) {
  return layout->slot_size - layout->page;
}

void sl_slot_look(const sl_layout *layout, unsigned slot, sl_slot_view *view);

/**
 * The slot to try first (`after` is -1) or after the one at place `after` of the order; -1: none is left. Looks at marks
 * and shape only; the caller checks digest and signature and asks for the next when they fail.
 */
int sl_slots_order(const sl_slot_view view[SL_SLOTS], int place);

/** Notes that an image is about to be started. False: the flash did not take it, and the image must not be started. */
bool sl_slot_count_attempt(const sl_layout *layout, unsigned slot);

/** Writes down why a slot was passed over, once. */
void sl_slot_refuse(const sl_layout *layout, unsigned slot, sl_image_status why);

/**
 * The image of `slot` shall be tried at the next boots. Its digest is checked here. `running` is the slot that runs
 * (would be started, in the bootloader), or -1; an older version than that is refused.
 */
sl_image_status sl_slot_request(const sl_layout *layout, unsigned slot, int running);

/**
 * Makes the running image the one to stay with and raises the security counter to its own. Safe to repeat.
 * `SL_IMAGE_FLASH` when the flash did not take it.
 */
sl_image_status sl_slot_confirm(const sl_layout *layout, unsigned slot);

/**
 * Back to the other image, which this one took the place of: it is preferred from the next boot on, and what runs now is
 * what there is to fall back to; a trial is over with that. Only an image that ran here before, or came by a debugger, and whose security counter
 * was not left behind: `SL_IMAGE_EXHAUSTED` for one that was tried and never confirmed or never tried at all.
 */
sl_image_status sl_slot_revert(const sl_layout *layout, unsigned running);

/** Whether another image than that of `running` is there that a boot would take before an exhausted one. */
bool sl_slot_fallback(const sl_layout *layout, unsigned running);

/**
 * Whether `slot` may be erased: it does not run, and what runs is not on trial with this one to fall back to. In the
 * bootloader `running` is the slot that it would start, or -1 when there is none.
 */
bool sl_slot_writable(const sl_layout *layout, unsigned slot, int running);

/** Makes a slot empty: its first page and its trailer. */
bool sl_slot_clear(const sl_layout *layout, unsigned slot);

/* ---- uploads that survive a restart ------------------------------------------------------------------------------- */

/** Begins an upload in an emptied slot: remembers what is to come. `digest` is the SHA-256 of the whole file. */
bool sl_upload_begin(const sl_layout *layout, unsigned slot, uint32_t total, const uint8_t digest[32]);

/** What an interrupted upload had reached: false when there is none. `*done` is a multiple of a page. */
bool sl_upload_resume(const sl_layout *layout, unsigned slot, uint32_t *total, uint8_t digest[32], uint32_t *done);

/** A page is written whole; notes it. */
bool sl_upload_page_done(const sl_layout *layout, unsigned slot, uint32_t page_index);

/** The upload is over or was no good: it cannot be resumed any more. */
bool sl_upload_void(const sl_layout *layout, unsigned slot);

/* ---- the security counter ----------------------------------------------------------------------------------------- */

/** The highest value ever stored; 0 on a new device. */
uint32_t sl_counter_read(const sl_layout *layout);

/** Raises it; never lowers it. True when at least `value` is stored afterwards. */
bool sl_counter_raise(const sl_layout *layout, uint32_t value);

#endif
