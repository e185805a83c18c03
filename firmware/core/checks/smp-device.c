/*
 * A board as a program: bootloader's choice, then the SMP server on standard input and output, with flash in a file.
 * Arguments: console or tunnel, flash file, public key in hexadecimal, "boot" to stay in the bootloader. A reset over SMP
 * goes through the bootloader's choice again; exit code 3 says that there was nothing to start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../boot/choose.h"
#include "../smp-console.h"
#include "../smp-tunnel.h"
#include "flash-model.h"

static const sl_layout LAYOUT = {
  .slot = {MODEL_BASE, MODEL_BASE + 4u * MODEL_PAGE},
  .slot_size = 4u * MODEL_PAGE,
  .page = MODEL_PAGE,
  .counter = MODEL_BASE + 8u * MODEL_PAGE,
  .board = "host",
};
static const uint8_t MODEL_HASH[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static sl_image_key key;
static const char *path;

/* In place of the old file at once: the test may kill this program at any moment. */
static void keep(void) {
  char draft[1024];
  if (snprintf(draft, sizeof draft, "%s.new", path) >= (int)sizeof draft) exit(2);
  FILE *file = fopen(draft, "wb");
  if (file == NULL || fwrite(model.bytes, 1, MODEL_SIZE, file) != MODEL_SIZE || fclose(file) != 0) exit(2);
  if (rename(draft, path) != 0) exit(2);
}

static const sl_boot_trust trust = {&key, 1, true};

static void boot(sl_smp *smp, bool stay) {
  sl_boot_choice choice;
  sl_boot_choose(&LAYOUT, &trust, &choice);
  if (!stay && !sl_boot_commit(&LAYOUT, &choice)) exit(3);
  keep();
  sl_smp_start(smp, &LAYOUT, choice.slot, stay);
  if (stay) sl_boot_tell(&choice, smp);
  /* Every application that this program plays is made of the same model. */
  if (!stay) smp->model_hash = MODEL_HASH;
}

static void say(const uint8_t *bytes, size_t size) {
  while (size > 0) {
    ssize_t written = write(1, bytes, size);
    if (written <= 0) exit(0);
    bytes += written;
    size -= (size_t)written;
  }
}

static void served(sl_smp *smp, bool stay) {
  if (smp->reset_wanted) boot(smp, stay);
}

static void console_loop(sl_smp *smp, bool stay) {
  static uint8_t buffer[SL_SMP_MAX + 4];
  static uint8_t answer[SL_SMP_MAX];
  static uint8_t wire[SL_SMP_CONSOLE_MAX(SL_SMP_MAX)];
  sl_smp_console console;
  uint8_t byte;
  sl_smp_console_start(&console, buffer, sizeof buffer);
  while (read(0, &byte, 1) == 1) {
    size_t size = sl_smp_console_push(&console, byte);
    if (size == 0) continue;
    if (stay && sl_smp_lists(buffer + 2, size)) sl_boot_look(&LAYOUT, &trust, smp);
    size_t length = sl_smp_serve(smp, buffer + 2, size, answer, sizeof answer);
    if (length == 0) continue;
    keep();
    say((const uint8_t *)"boot log\n", 9); /* text between packets, as consoles have it */
    say(wire, sl_smp_console_encode(answer, length, wire, sizeof wire));
    served(smp, stay);
  }
}

static bool hear(uint8_t *bytes, size_t size) {
  while (size > 0) {
    ssize_t got = read(0, bytes, size);
    if (got <= 0) return false;
    bytes += got;
    size -= (size_t)got;
  }
  return true;
}

/* Each question is a length byte and that many bytes; so is each answer, length 0 for none. */
static void tunnel_loop(sl_smp *smp, bool stay) {
  static sl_smp_tunnel tunnel;
  uint8_t in[256];
  uint8_t out[256];
  sl_smp_tunnel_start(&tunnel, smp);
  while (hear(in, 1) && hear(in + 1, in[0])) {
    size_t length = sl_smp_tunnel_serve(&tunnel, in + 1, in[0], out + 1, 251);
    out[0] = (uint8_t)length;
    keep();
    say(out, length + 1u);
    served(smp, stay);
  }
}

int main(int argc, char **argv) {
  static sl_smp smp;
  if (argc < 4) return 2;
  path = argv[2];
  bool stay = argc > 4;
  for (unsigned i = 0; i < 32; i++) {
    unsigned value = 0;
    if (sscanf(argv[3] + 2u * i, "%2x", &value) != 1) return 2;
    key.key[i] = (uint8_t)value;
  }
  FILE *file = fopen(path, "rb");
  if (file == NULL || fread(model.bytes, 1, MODEL_SIZE, file) != MODEL_SIZE) return 2;
  fclose(file);
  boot(&smp, stay);
  if (strcmp(argv[1], "tunnel") == 0) tunnel_loop(&smp, stay);
  else console_loop(&smp, stay);
  return 0;
}
