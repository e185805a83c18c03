/* Group 1 of SMP: what is in the slots, and how something new comes there. */
#include "bytes.h"
#include "hal.h"
#include "memory.h"
#include "smp-internal.h"

static void refuse(sl_smp_call *call, sl_image_status why) {
  call->why = (uint8_t)why;
  call->rc = why == SL_IMAGE_DIGEST || why == SL_IMAGE_FLASH ? SL_SMP_CORRUPT : SL_SMP_BAD_STATE;
}

/* A point and a number behind it. */
static char *part(char *at, uint32_t value) {
  char reversed[10];
  unsigned count = 0;
  do reversed[count++] = (char)('0' + value % 10u);
  while ((value /= 10u) != 0);
  *at++ = '.';
  while (count > 0) *at++ = reversed[--count];
  return at;
}

static void put_version(sl_cbor_out *out, const sl_version *version) {
  char text[27];
  char *at = part(text, version->major);
  at = part(at, version->minor);
  at = part(at, version->revision);
  if (version->build != 0) at = part(at, version->build);
  *at = '\0';
  sl_cbor_text(out, text + 1);
}

/* Why a slot would not be started, or 0: as much of it as is known without reading the whole image. */
static uint8_t why_not(const sl_smp *smp, unsigned slot, const sl_slot_view *view) {
  if (view->status != SL_IMAGE_OK) return (uint8_t)view->status;
  uint8_t content = smp->content[slot] & (uint8_t)~SL_SMP_SEEN;
  if (content != SL_IMAGE_OK) return content;
  if (view->refusal != 0) return view->refusal;
  return view->mark == SL_MARK_EXHAUSTED ? (uint8_t)SL_IMAGE_EXHAUSTED : 0u;
}

static void put_slot(const sl_smp *smp, sl_cbor_out *out, unsigned slot, const sl_slot_view *view) {
  bool active = (int)slot == smp->running && !smp->recovery;
  uint8_t why = why_not(smp, slot, view);
  sl_cbor_map(out, why != 0 ? 10 : 9);
  sl_cbor_named_uint(out, "slot", slot);
  sl_cbor_text(out, "version");
  put_version(out, &view->image.version);
  sl_cbor_text(out, "hash");
  sl_cbor_bytes(out, view->image.digest, sizeof view->image.digest);
  sl_cbor_named_bool(out, "bootable", why == 0 || (why == SL_IMAGE_EXHAUSTED && active));
  sl_cbor_named_bool(out, "pending", view->mark == SL_MARK_PENDING && !active);
  sl_cbor_named_bool(out, "confirmed", view->mark == SL_MARK_CONFIRMED);
  sl_cbor_named_bool(out, "active", active);
  sl_cbor_named_bool(out, "permanent", false);
  sl_cbor_named_uint(out, "attempts", view->attempts);
  if (why != 0) {
    sl_cbor_named_uint(out, "why", why);
  }
}

static void list(const sl_smp *smp, sl_smp_call *call) {
  sl_slot_view view[SL_SLOTS];
  uint32_t filled = 0;
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    sl_slot_look(smp->layout, slot, &view[slot]);
    /* A header at least: what follows has a version to show. */
    if (view[slot].image.header_size != 0) filled++;
  }
  sl_cbor_map(&call->out, 2);
  sl_cbor_text(&call->out, "images");
  sl_cbor_array(&call->out, filled);
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    if (view[slot].image.header_size != 0) put_slot(smp, &call->out, slot, &view[slot]);
  }
  sl_cbor_named_uint(&call->out, "splitStatus", 0);
}

void sl_smp_image_list(sl_smp *smp, sl_smp_call *call) {
  list(smp, call);
}

/* The slot with an image of this digest, or -1. */
static int find(const sl_smp *smp, const uint8_t digest[32]) {
  for (unsigned slot = 0; slot < SL_SLOTS; slot++) {
    sl_slot_view view;
    sl_slot_look(smp->layout, slot, &view);
    if (view.image.header_size != 0 && memcmp(view.image.digest, digest, 32) == 0) return (int)slot;
  }
  return -1;
}

void sl_smp_image_state(sl_smp *smp, sl_smp_call *call) {
  sl_cbor_item name;
  sl_cbor_item value;
  const uint8_t *digest = NULL;
  bool confirm = false;
  bool revert = false;
  while (sl_smp_field(call, &name, &value)) {
    if (sl_cbor_is(&name, "hash") && value.kind == SL_CBOR_BYTES && value.number == 32u) digest = value.bytes;
    else if (sl_cbor_is(&name, "confirm") && value.kind == SL_CBOR_BOOL) confirm = value.number != 0;
    else if (sl_cbor_is(&name, "revert") && value.kind == SL_CBOR_BOOL) revert = value.number != 0;
    else if (!sl_cbor_skip(&call->in, &value)) {
      call->rc = SL_SMP_INVALID;
      return;
    }
  }
  if (call->rc != SL_SMP_OK) return;
  int slot = digest != NULL ? find(smp, digest) : smp->running;
  if (digest == NULL ? confirm == revert : revert) {
    call->rc = SL_SMP_INVALID;
    return;
  }
  if (slot < 0) {
    call->rc = SL_SMP_NO_ENTRY;
    return;
  }
  /* Only what runs can have shown that it is healthy. */
  if ((confirm || revert) && (slot != smp->running || smp->recovery)) {
    call->rc = SL_SMP_BAD_STATE;
    return;
  }
  sl_image_status status = confirm  ? sl_slot_confirm(smp->layout, (unsigned)slot)
                           : revert ? sl_slot_revert(smp->layout, (unsigned)slot)
                                    : sl_slot_request(smp->layout, (unsigned)slot, smp->running);
  if (status == SL_IMAGE_DIGEST && !revert) (void)sl_upload_void(smp->layout, (unsigned)slot);
  if (status != SL_IMAGE_OK) refuse(call, status);
  else if (confirm) smp->confirmed = true;
  if (status == SL_IMAGE_OK) list(smp, call);
}

void sl_smp_image_erase(sl_smp *smp, sl_smp_call *call) {
  sl_cbor_item name;
  sl_cbor_item value;
  unsigned slot = smp->running == 1 ? 0u : 1u;
  while (sl_smp_field(call, &name, &value)) {
    if (sl_cbor_is(&name, "slot") && value.kind == SL_CBOR_UINT && value.number < SL_SLOTS) slot = (unsigned)value.number;
    else if (!sl_cbor_skip(&call->in, &value)) call->rc = SL_SMP_INVALID;
    if (call->rc != SL_SMP_OK) return;
  }
  if (call->rc != SL_SMP_OK) return;
  smp->uploading = false;
  smp->content[slot] = 0;
  if (!sl_slot_writable(smp->layout, slot, smp->running)) call->rc = SL_SMP_BAD_STATE;
  else if (!sl_slot_clear(smp->layout, slot)) refuse(call, SL_IMAGE_FLASH);
}

/* Begins an upload, or goes on with the one that was cut off. */
static void begin(sl_smp *smp, sl_smp_call *call, uint32_t total, const uint8_t *digest) {
  unsigned slot = smp->running == 0 ? 1u : 0u;
  uint32_t known_total;
  uint32_t done;
  uint8_t known[32];
  smp->uploading = false;
  if (total == 0 || total > sl_slot_room(smp->layout)) {
    refuse(call, SL_IMAGE_SIZE);
    return;
  }
  if (!sl_slot_writable(smp->layout, slot, smp->running)) {
    call->rc = SL_SMP_BAD_STATE;
    return;
  }
  smp->offset = 0;
  sl_slot_view view;
  sl_slot_look(smp->layout, slot, &view);
  /* An image that was started or refused and comes once more shall have its chance from the beginning. */
  bool fresh = view.attempts == 0 && view.refusal == 0 && view.confirmation == 0;
  if (fresh && sl_upload_resume(smp->layout, slot, &known_total, known, &done) && known_total == total &&
      memcmp(known, digest, sizeof known) == 0) {
    smp->offset = done < total ? done : total;
  } else if (!sl_slot_clear(smp->layout, slot) || !sl_upload_begin(smp->layout, slot, total, digest)) {
    refuse(call, SL_IMAGE_FLASH);
    return;
  }
  smp->slot = (uint8_t)slot;
  smp->total = total;
  smp->uploading = true;
}

/* Writes what is at the offset; takes whole words, except at the end of the file. */
static bool take(sl_smp *smp, const uint8_t *data, uint32_t size) {
  uint32_t page = smp->layout->page;
  smp->content[smp->slot] = 0;
  while (size > 0) {
    _Alignas(4) uint8_t piece[64]; /* flash wants words */
    uint32_t in_page = smp->offset & (page - 1u);
    uint32_t part = size < sizeof piece ? size : (uint32_t)sizeof piece;
    if (part > page - in_page) part = page - in_page;
    bool last = smp->offset + part == smp->total;
    if (!last) part &= ~3u;
    if (part == 0) return true;
    uint32_t at = smp->layout->slot[smp->slot] + smp->offset;
    /* Erased when it is reached, whatever it reads: a page on which a write or an erase was cut off is not trusted. */
    if (in_page == 0 && !sl_hal_flash_erase(at, page)) return false;
    memset(piece, 0xFF, sizeof piece);
    memcpy(piece, data, part);
    if (!sl_hal_flash_program(at, piece, (part + 3u) & ~3u)) return false;
    smp->offset += part;
    data += part;
    size -= part;
    if ((last || in_page + part == page) &&
        !sl_upload_page_done(smp->layout, smp->slot, (smp->offset - 1u) / page)) return false;
  }
  return true;
}

void sl_smp_image_upload(sl_smp *smp, sl_smp_call *call) {
  sl_cbor_item name;
  sl_cbor_item value;
  const uint8_t *digest = NULL;
  const uint8_t *data = NULL;
  uint32_t size = 0;
  uint32_t offset = 0xFFFFFFFFu;
  uint32_t total = 0;
  while (sl_smp_field(call, &name, &value)) {
    if (sl_cbor_is(&name, "off") && value.kind == SL_CBOR_UINT) offset = value.number;
    else if (sl_cbor_is(&name, "len") && value.kind == SL_CBOR_UINT) total = value.number;
    else if (sl_cbor_is(&name, "sha") && value.kind == SL_CBOR_BYTES && value.number == 32u) digest = value.bytes;
    else if (sl_cbor_is(&name, "data") && value.kind == SL_CBOR_BYTES) {
      data = value.bytes;
      size = value.number;
    } else {
      /* There is one image here, number 0. */
      bool another = sl_cbor_is(&name, "image") && value.kind == SL_CBOR_UINT && value.number != 0;
      if (another || !sl_cbor_skip(&call->in, &value)) call->rc = SL_SMP_INVALID;
    }
    if (call->rc != SL_SMP_OK) return;
  }
  if (call->rc != SL_SMP_OK) return;
  if (offset == 0) {
    if (digest == NULL) {
      call->rc = SL_SMP_INVALID; /* without it nobody could tell which upload to go on with */
      return;
    }
    begin(smp, call, total, digest);
    if (call->rc != SL_SMP_OK) return;
  } else if (!smp->uploading) {
    /* Restarted in between: the client has to say again what it sends, and hears where to go on. */
    call->rc = SL_SMP_BAD_STATE;
    return;
  }
  /* A chunk for another place is answered with the right one, which is also what a repeated chunk needs. */
  if (offset == smp->offset && data != NULL && size <= smp->total - smp->offset) {
    if (!take(smp, data, size)) {
      smp->uploading = false;
      refuse(call, SL_IMAGE_FLASH);
      return;
    }
  }
  sl_cbor_map(&call->out, 2);
  sl_cbor_named_uint(&call->out, "rc", 0);
  sl_cbor_named_uint(&call->out, "off", smp->offset);
}
