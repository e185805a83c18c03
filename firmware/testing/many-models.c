/**
 * Many generated models in one program: "models.h" lists them. It starts with one holding register at 0xFFFE; whoever
 * writes a number there gets the register map of that model, until the next reset.
 */
#include "board.h"
#include "models.h"
#include "runtime.h"

static sl_result choose(const void *value);
static uint16_t chosen;
static const sl_register chooser[] = {{0xFFFE, SL_U16, SL_WRITABLE, 1, 0, &chosen, NULL, NULL, choose}};
static const sl_register_map start = {
  {{NULL, 0}, {NULL, 0}, {chooser, 1}, {NULL, 0}}, sl_system_word, SL_SYSTEM_ADDRESS, SL_SYSTEM_WORDS,
};
static const sl_identity identity = {{"Sluice", "many", "1", NULL, NULL, NULL, NULL}, NULL, 0};
static sl_firmware firmware = {{0}, 1, 0, 0};
static const sl_modbus_line lines[1] = {{0, {115200, SL_PARITY_NONE, 1}, false, false}};
static sl_modbus_port ports[1];

static sl_result choose(const void *value) {
  const uint16_t which = *(const uint16_t *)value;
  if (which >= sizeof models / sizeof models[0]) return SL_BAD_VALUE;
  for (uint8_t i = 0; i < 8; i++) firmware.model_hash[i] = models[which].hash[i];
  ports[0].server.map = models[which].map;
  return SL_OK;
}

static const sl_app app = {
  .map = &start, .identity = &identity, .firmware = &firmware, .unit = 1, .lines = lines, .ports = ports, .line_count = 1,
};

int main(void) { sl_run(&app); }
