/*
 * Every parser of hostile bytes that updates go through, for libFuzzer.
 * fuzz: ../boot/choose.c checks/flash-model.c cbor.c cobs.c crc32.c ed25519.c image-signature.c image.c marks.c security-counter.c settings.c sha256.c sha512.c slots.c smp-console.c smp-image.c smp-tunnel.c smp.c upload.c
 * parsers: image cbor cobs console smp tunnel settings
 * SL_FUZZ_PARSER is the number of one in that list; without it the first byte of the input chooses. Compiled with ASan and UBSan; beyond memory errors it stops on broken promises:
 * what is encoded decodes to itself, nothing is read or written outside the slot, no image without a signature passes.
 */
#include <stdlib.h>
#include <string.h>

#include "../../boot/choose.h"
#include "../cbor.h"
#include "../cobs.h"
#include "../settings.h"
#include "../smp-console.h"
#include "../smp-tunnel.h"
#include "flash-model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const sl_layout LAYOUT = {
  .slot = {MODEL_BASE, MODEL_BASE + 4u * MODEL_PAGE},
  .slot_size = 4u * MODEL_PAGE,
  .page = MODEL_PAGE,
  .counter = MODEL_BASE + 8u * MODEL_PAGE,
  .board = "host",
};

static void promise(bool kept) {
  if (!kept) abort();
}

static void fill_flash(const uint8_t *data, size_t size) {
  model_erase_all();
  memcpy(model.bytes, data, size < MODEL_SIZE ? size : MODEL_SIZE);
}

static void image(const uint8_t *data, size_t size) {
  static const sl_image_key key = {.key = {0}};
  const sl_boot_trust trust = {&key, 1, true};
  sl_image parsed;
  sl_boot_choice choice;
  fill_flash(data, size);
  if (sl_image_parse(&parsed, MODEL_BASE, sl_slot_room(&LAYOUT)) == SL_IMAGE_OK) {
    promise(parsed.size <= sl_slot_room(&LAYOUT) && parsed.signed_size < parsed.size);
    (void)sl_image_check_digest(&parsed);
  }
  sl_boot_choose(&LAYOUT, &trust, &choice);
  promise(choice.slot < 0);
}

static void cbor(const uint8_t *data, size_t size) {
  sl_cbor_in in = {data, data + size};
  sl_cbor_item item;
  while (in.at < in.end) {
    const uint8_t *before = in.at;
    if (!sl_cbor_next(&in, &item)) return;
    promise(in.at > before && in.at <= in.end);
    if (item.bytes != NULL) promise(item.bytes >= data && item.bytes + item.number <= data + size);
    if (!sl_cbor_skip(&in, &item)) return;
  }
}

static void cobs(const uint8_t *data, size_t size) {
  uint8_t encoded[SL_COBS_MAX(4096u)];
  uint8_t decoded[4096];
  if (size > sizeof decoded) return;
  size_t length = sl_cobs_encode(data, size, encoded);
  promise(length <= SL_COBS_MAX(size) && memchr(encoded, 0, length) == NULL);
  promise(sl_cobs_decode(encoded, length, decoded, sizeof decoded) == (int32_t)size);
  promise(size == 0 || memcmp(decoded, data, size) == 0);
  (void)sl_cobs_decode(data, size, decoded, size / 2u);
}

static void console(const uint8_t *data, size_t size) {
  static uint8_t buffer[SL_SMP_MAX + 4];
  static uint8_t wire[SL_SMP_CONSOLE_MAX(SL_SMP_MAX)];
  sl_smp_console decoder;
  sl_smp_console_start(&decoder, buffer, sizeof buffer);
  for (size_t i = 0; i < size; i++) promise(sl_smp_console_push(&decoder, data[i]) <= SL_SMP_MAX);
  if (size > SL_SMP_MAX) return;
  /* Whatever came before, the next whole packet is found. */
  size_t length = sl_smp_console_encode(data, size, wire, sizeof wire);
  promise(length != 0);
  (void)sl_smp_console_push(&decoder, '\n');
  size_t got = 0;
  for (size_t i = 0; i < length; i++) {
    size_t now = sl_smp_console_push(&decoder, wire[i]);
    if (now != 0) got = now;
  }
  promise(got == size && (size == 0 || memcmp(buffer + 2, data, size) == 0));
}

/* Packets behind a length byte each, the way the tunnel gets them or straight to the server. */
static void smp(const uint8_t *data, size_t size, bool through_tunnel) {
  static sl_smp server;
  static sl_smp_tunnel tunnel;
  uint8_t answer[SL_SMP_MAX];
  model_erase_all();
  /* In the bootloader with nothing to start, or in the application of slot A. */
  bool recovery = size > 0 && (data[0] & 1u) != 0;
  sl_smp_start(&server, &LAYOUT, recovery ? -1 : 0, recovery);
  sl_smp_tunnel_start(&tunnel, &server);
  while (size > 1) {
    size_t part = data[0] < size - 1u ? data[0] : size - 1u;
    size_t length = through_tunnel ? sl_smp_tunnel_serve(&tunnel, data + 1, part, answer, 251)
                                   : sl_smp_serve(&server, data + 1, part, answer, sizeof answer);
    promise(length <= sizeof answer);
    /* Nothing is told but the answer: what lies behind it in RAM is nobody's business. */
    promise(!through_tunnel || length < 2u || tunnel.given + tunnel.shown <= tunnel.length);
    data += part + 1u;
    size -= part + 1u;
  }
}

static void settings(const uint8_t *data, size_t size) {
  sl_settings log = {.address = MODEL_BASE, .bank_size = MODEL_PAGE, .banks = 3};
  uint8_t value[SL_SETTINGS_VALUE_MAX];
  fill_flash(data, size < 3u * MODEL_PAGE ? size : 3u * MODEL_PAGE);
  sl_settings_open(&log);
  for (uint16_t key = 0; key < 4; key++) promise(sl_settings_get(&log, key, value, sizeof value) <= (int32_t)SL_SETTINGS_VALUE_MAX);
  memset(value, 0x5A, sizeof value);
  if (sl_settings_set(&log, 2, value, 9) == SL_SETTINGS_OK) {
    sl_settings again = {.address = MODEL_BASE, .bank_size = MODEL_PAGE, .banks = 3};
    sl_settings_open(&again);
    promise(sl_settings_get(&again, 2, value, sizeof value) == 9 && value[8] == 0x5A);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
#ifdef SL_FUZZ_PARSER
  unsigned parser = SL_FUZZ_PARSER;
#else
  if (size == 0) return 0;
  unsigned parser = data[0] % 7u;
  data++;
  size--;
#endif
  switch (parser) {
    case 0: image(data, size); break;
    case 1: cbor(data, size); break;
    case 2: cobs(data, size); break;
    case 3: console(data, size); break;
    case 4: smp(data, size, false); break;
    case 5: smp(data, size, true); break;
    default: settings(data, size); break;
  }
  return 0;
}
