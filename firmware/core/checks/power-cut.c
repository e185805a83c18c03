/*
 * Cuts the power at every flash operation of every phase in the life of a board, and looks at every boot whether an
 * image that somebody released is started. Arguments: first seed, number of seeds, then for each release 1 to 8 the file
 * of slot A and the file of slot B. Release 3 is never confirmed, release 5 is signed with somebody else's key, release 7
 * is confirmed and taken back, release 8 is taken back while it is on trial.
 * Prints one line a phase: name, operations, runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../boot/choose.h"
#include "../cbor.h"
#include "../settings.h"
#include "../smp.h"
#include "flash-model.h"

enum { RELEASES = 8, FILE_MAX = 3072, UNCONFIRMED = 3, FORGED = 5, RECALLED = 8, SETTINGS = 4, SETTINGS_ROUNDS = 40 };

static const sl_layout LAYOUT = {
  .slot = {MODEL_BASE, MODEL_BASE + 4u * MODEL_PAGE},
  .slot_size = 4u * MODEL_PAGE,
  .page = MODEL_PAGE,
  .counter = MODEL_BASE + 8u * MODEL_PAGE,
  .board = "host",
};
static sl_image_key key;
static uint8_t file[RELEASES + 1][2][FILE_MAX];
static uint32_t file_size[RELEASES + 1][2];

/* What the world outside the board knows. */
static unsigned confirmed;  /* release whose confirmation was acknowledged */
static unsigned installing; /* release on its way, or 0 */
static unsigned expected_setting[SETTINGS];
static unsigned written_setting[SETTINGS]; /* at most one round ahead */
static const char *phase = "";
static uint32_t cut_operation;
static uint32_t seed_now;
static unsigned long boots;

static void fail(const char *what) {
  fprintf(stderr, "%s: cut at operation %u, seed %u: %s\n", phase, (unsigned)cut_operation, (unsigned)seed_now, what);
  exit(1);
}

static unsigned release_in(int slot) {
  for (unsigned release = 1; release <= RELEASES; release++) {
    const uint8_t *flash = model.bytes + (LAYOUT.slot[slot] - MODEL_BASE);
    if (memcmp(flash, file[release][slot], file_size[release][slot]) == 0) return release;
  }
  return 0;
}

/* Each release raises it until one may be taken back. */
static unsigned counter_of(unsigned release) {
  return release < 6u ? release : 6u;
}

/* Power on: the bootloader decides, writes that down and starts something. */
static int boot(void) {
  const sl_boot_trust trust = {&key, 1, true};
  sl_boot_choice choice;
  boots++;
  sl_boot_choose(&LAYOUT, &trust, &choice);
  if (choice.slot < 0) fail("nothing to start");
  if (!sl_boot_commit(&LAYOUT, &choice)) fail("the boot could not be written down");
  unsigned release = release_in(choice.slot);
  if (release == 0) fail("started something nobody released");
  if (release == FORGED) fail("started what somebody else signed");
  if (release != confirmed && release != installing) fail("started a release that is over");
  /* A confirmation that was cut in two is completed before it is started. */
  if (choice.mark == SL_MARK_CONFIRMED && sl_counter_read(&LAYOUT) < counter_of(release)) fail("started with the counter behind");
  if (choice.vectors != LAYOUT.slot[choice.slot] + 512u) fail("wrong vectors");
  return choice.slot;
}

static uint32_t answer_field(const uint8_t *answer, size_t size, const char *name, uint32_t otherwise) {
  sl_cbor_in in = {answer + SL_SMP_HEADER, answer + size};
  sl_cbor_item map;
  sl_cbor_item field;
  sl_cbor_item value;
  if (!sl_cbor_next(&in, &map) || map.kind != SL_CBOR_MAP) fail("an answer that is no map");
  for (uint32_t i = 0; i < map.number; i++) {
    if (!sl_cbor_next(&in, &field) || !sl_cbor_next(&in, &value)) fail("a broken answer");
    if (sl_cbor_is(&field, name)) return value.number;
    if (!sl_cbor_skip(&in, &value)) fail("a broken answer");
  }
  return otherwise;
}

static uint8_t request[SL_SMP_MAX];
static uint8_t answer[SL_SMP_MAX];

static size_t ask(sl_smp *smp, unsigned group, unsigned command, const sl_cbor_out *body) {
  size_t size = (size_t)(body->at - request);
  uint8_t head[8] = {2, 0, (uint8_t)((size - 8u) >> 8), (uint8_t)(size - 8u), 0, (uint8_t)group, 1, (uint8_t)command};
  memcpy(request, head, 8);
  size_t length = sl_smp_serve(smp, request, size, answer, sizeof answer);
  if (length == 0) fail("no answer");
  return length;
}

static sl_cbor_out fields(uint32_t count) {
  sl_cbor_out body = {request + SL_SMP_HEADER, request + sizeof request, false};
  sl_cbor_map(&body, count);
  return body;
}

/* The gateway's side of an upload: goes where the board says, whatever happened before. */
static void upload(sl_smp *smp, unsigned release) {
  unsigned slot = smp->running == 0 ? 1u : 0u;
  uint8_t digest[32];
  memset(digest, (int)release, sizeof digest);
  uint32_t offset = 0;
  bool first = true;
  while (first || offset < file_size[release][slot]) {
    uint32_t left = file_size[release][slot] - offset;
    uint32_t part = left < 130u ? left : 130u;
    sl_cbor_out body = fields(offset == 0 ? 4 : 2);
    sl_cbor_text(&body, "off");
    sl_cbor_uint(&body, offset);
    if (offset == 0) {
      sl_cbor_text(&body, "len");
      sl_cbor_uint(&body, file_size[release][slot]);
      sl_cbor_text(&body, "sha");
      sl_cbor_bytes(&body, digest, sizeof digest);
    }
    sl_cbor_text(&body, "data");
    sl_cbor_bytes(&body, file[release][slot] + offset, part);
    size_t size = ask(smp, 1, 1, &body);
    if (answer_field(answer, size, "rc", 0) != 0) fail("an upload was refused");
    offset = answer_field(answer, size, "off", 0);
    first = false;
  }
}

static uint32_t set_state(sl_smp *smp, const uint8_t *digest, bool confirm) {
  sl_cbor_out body = fields(digest != NULL ? 2 : 1);
  if (digest != NULL) {
    sl_cbor_text(&body, "hash");
    sl_cbor_bytes(&body, digest, 32);
  }
  sl_cbor_text(&body, "confirm");
  sl_cbor_bool(&body, confirm);
  return answer_field(answer, ask(smp, 1, 0, &body), "rc", 0);
}

static uint32_t take_back(sl_smp *smp) {
  sl_cbor_out body = fields(1);
  sl_cbor_text(&body, "revert");
  sl_cbor_bool(&body, true);
  return answer_field(answer, ask(smp, 1, 0, &body), "rc", 0);
}

/* Installs a release from whatever the board is at now; ends when the world knows how it went. */
static void install(unsigned release, bool recovery) {
  sl_smp smp;
  sl_slot_view view;
  unsigned rounds = 0;
  installing = release;
  for (;;) {
    int slot = boot();
    if (++rounds > 12) fail("the release never arrives");
    if (release_in(slot) == release) {
      if (release == UNCONFIRMED) continue; /* it hangs, and the watchdog starts it again */
      sl_smp_start(&smp, &LAYOUT, slot, false);
      if (release == RECALLED) {
        if (take_back(&smp) != 0) fail("an image on trial was not taken back");
        continue;
      }
      if (set_state(&smp, NULL, true) != 0) fail("a confirmation was refused");
      confirmed = release;
      break;
    }
    sl_slot_look(&LAYOUT, 1u - (unsigned)slot, &view);
    bool tried = view.mark == SL_MARK_EXHAUSTED || (view.refusal != 0 && release_in(1 - slot) == release);
    if (tried && (release == UNCONFIRMED || release == FORGED || release == RECALLED)) break;
    sl_smp_start(&smp, &LAYOUT, slot, recovery);
    upload(&smp, release);
    sl_slot_look(&LAYOUT, 1u - (unsigned)slot, &view);
    if (set_state(&smp, view.image.digest, false) != 0) fail("a test was refused");
  }
  installing = 0;
  if (release_in(boot()) != confirmed) fail("what was confirmed is not started");
}

static sl_settings opened(void) {
  sl_settings log = {.address = MODEL_BASE + 10u * MODEL_PAGE, .bank_size = MODEL_PAGE, .banks = 3};
  sl_settings_open(&log);
  return log;
}

static void check_settings(void) {
  sl_settings log = opened();
  for (unsigned i = 0; i < SETTINGS; i++) {
    uint8_t value[SL_SETTINGS_VALUE_MAX];
    int32_t size = sl_settings_get(&log, (uint16_t)(i + 1u), value, sizeof value);
    unsigned found = size < 0 ? 0 : value[0];
    if (size >= 0 && (uint32_t)size != 20u + found % 5u) fail("a setting of the wrong size");
    for (int32_t at = 1; at < size; at++) {
      if (value[at] != (uint8_t)(found + i)) fail("a setting that nobody wrote");
    }
    if (found != expected_setting[i] && found != written_setting[i]) fail("a setting went back in time");
    expected_setting[i] = found;
    written_setting[i] = found;
  }
}

static void change_settings(void) {
  (void)boot();
  check_settings();
  sl_settings log = opened();
  for (unsigned round = 1; round <= SETTINGS_ROUNDS; round++) {
    for (unsigned i = 0; i < SETTINGS; i++) {
      uint8_t value[SL_SETTINGS_VALUE_MAX];
      if (expected_setting[i] >= round) continue;
      memset(value, (int)(round + i), sizeof value);
      value[0] = (uint8_t)round;
      written_setting[i] = round;
      if (sl_settings_set(&log, (uint16_t)(i + 1u), value, 20u + round % 5u) != SL_SETTINGS_OK) fail("a setting was refused");
      expected_setting[i] = round;
    }
  }
  check_settings();
}

/* Everybody goes back to what ran before the newest release. */
static void back(void) {
  sl_smp smp;
  unsigned rounds = 0;
  installing = 6;
  for (;;) {
    int slot = boot();
    if (++rounds > 12) fail("it never goes back");
    if (release_in(slot) == 6u) break;
    sl_smp_start(&smp, &LAYOUT, slot, false);
    if (take_back(&smp) != 0) fail("going back was refused");
  }
  confirmed = 6;
  installing = 0;
  if (release_in(boot()) != 6u) fail("it does not stay with what it went back to");
}

static void second(void) { install(2, false); }
static void unconfirmed(void) { install(UNCONFIRMED, false); }
static void fourth(void) { install(4, false); }
static void forged(void) { install(FORGED, false); }
static void recovered(void) { install(6, true); }
static void seventh(void) { install(7, false); }
static void recalled(void) { install(RECALLED, false); }

typedef struct {
  const char *name;
  void (*run)(void);
  unsigned release; /* confirmed when it ends */
} step;

static const step STEPS[] = {
  {"update", second, 2},     {"revert", unconfirmed, 2}, {"update-after-revert", fourth, 4},
  {"forged", forged, 4},     {"recovery", recovered, 6}, {"newer", seventh, 7},
  {"back", back, 6},         {"recalled", recalled, 6},  {"settings", change_settings, 6},
};

/* Runs a step to its end, with the power cut at one operation and perhaps at a second one after that. */
static void run_step(const step *each, uint32_t first_cut, uint32_t second_cut) {
  static volatile uint32_t next_cut;
  cut_operation = first_cut;
  next_cut = second_cut;
  model_cut_at(first_cut);
  if (setjmp(model_power_lost) != 0) {
    model_cut_at(next_cut);
    next_cut = 0;
  }
  each->run();
  if (confirmed != each->release) fail("ended with another release");
}

static void load(unsigned release, unsigned slot, const char *path) {
  FILE *from = fopen(path, "rb");
  if (from == NULL) fail(path);
  file_size[release][slot] = (uint32_t)fread(file[release][slot], 1, FILE_MAX, from);
  fclose(from);
}

int main(int argc, char **argv) {
  if (argc != 4 + 2 * RELEASES) return 2;
  uint32_t first_seed = (uint32_t)strtoul(argv[1], NULL, 10);
  uint32_t seeds = (uint32_t)strtoul(argv[2], NULL, 10);
  for (unsigned i = 0; i < 32; i++) {
    unsigned byte = 0;
    if (sscanf(argv[3] + 2u * i, "%2x", &byte) != 1) return 2;
    key.key[i] = (uint8_t)byte;
  }
  for (unsigned release = 1; release <= RELEASES; release++) {
    for (unsigned slot = 0; slot < 2; slot++) load(release, slot, argv[4u + 2u * (release - 1u) + slot]);
  }
  model_erase_all();
  memcpy(model.bytes, file[1][0], file_size[1][0]);
  confirmed = 1;
  static model_flash before;
  for (unsigned i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
    const step *each = &STEPS[i];
    phase = each->name;
    unsigned start = confirmed;
    before = model;
    memset(expected_setting, 0, sizeof expected_setting);
    memset(written_setting, 0, sizeof written_setting);
    model_seed(1);
    run_step(each, 0, 0);
    uint32_t operations = model_operations();
    static model_flash after;
    after = model;
    unsigned long runs = 0;
    boots = 0;
    for (uint32_t cut = 1; cut <= operations; cut++) {
      for (uint32_t seed = first_seed; seed < first_seed + seeds; seed++, runs++) {
        model = before;
        confirmed = start;
        installing = 0;
        memset(expected_setting, 0, sizeof expected_setting);
        memset(written_setting, 0, sizeof written_setting);
        seed_now = seed;
        model_seed(seed * 7919u + cut);
        /* Every other seed loses power again, soon after it came back. */
        run_step(each, cut, (seed & 1u) != 0 ? 1u + model_random() % 40u : 0u);
      }
    }
    printf("%s %u %lu %lu\n", each->name, (unsigned)operations, runs, boots);
    model = after;
    confirmed = each->release;
  }
  printf("counter %u\n", (unsigned)sl_counter_read(&LAYOUT));
  return 0;
}
