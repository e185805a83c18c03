/** The smallest application that is updated over the line it serves: two registers and function 0x41. */
#include "board.h"
#include "boot-note.h"
#include "manage.h"
#include "runtime.h"

#ifndef SL_VERSION_MINOR
#define SL_VERSION_MINOR 0
#endif

#ifndef SL_BAUD
#define SL_BAUD 115200u
#endif
#ifndef SL_WATCHDOG_MS
#define SL_WATCHDOG_MS 500u
#endif

static uint16_t minor = SL_VERSION_MINOR;
static const sl_register holdings[] = {{0, SL_U16, 0, 1, 0, &minor, NULL, NULL, NULL}};
static const sl_register_map map = {
    {{NULL, 0}, {NULL, 0}, {holdings, 1}, {NULL, 0}}, sl_system_word, SL_SYSTEM_ADDRESS, SL_SYSTEM_WORDS};
static const sl_identity identity = {{"Sluice", "managed", "1", NULL, NULL, NULL, NULL}, NULL, 0};
static const sl_firmware firmware = {{1, 2, 3, 4, 5, 6, 7, 8}, 1, SL_VERSION_MINOR, 0};
static const sl_modbus_line lines[1] = {{0, {SL_BAUD, SL_PARITY_NONE, 1}, false, false}};
static sl_modbus_port ports[1];

static void setup(void) {
  sl_manage_start(firmware.model_hash);
#ifdef SL_MUTE
  sl_set_unit(99); /* comes up, serves, and yet nobody who knows it as unit 1 ever hears of it */
#endif
}

static const sl_app app = {
    .map = &map, .identity = &identity, .firmware = &firmware, .unit = 1, .lines = lines, .ports = ports,
    .line_count = 1, .user = sl_manage_user, .boot_state = sl_boot_word, .setup = setup, .loop = sl_manage_loop,
    .loop_every_us = 20000, .watchdog_ms = SL_WATCHDOG_MS,
};

int main(void) {
#ifdef SL_HANGS
  for (;;) continue; /* comes up and does nothing, without ever feeding the watchdog */
#endif
  sl_run(&app);
}
