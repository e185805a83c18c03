/**
 * The application the tests, the rigs and the budgets use: 100 registers of every kind on the board's first line(s), hooks
 * that read a sensor where the board has one, and a few switches that let a test hang or reset the board.
 */
#include "board.h"
#include "runtime.h"

#ifndef SL_UNIT
#define SL_UNIT 1
#endif
#ifndef SL_BAUD
#define SL_BAUD 115200
#endif
#ifndef SL_LINES
#define SL_LINES 1
#endif
#ifndef SL_SHARED
#define SL_SHARED false
#endif

/* What a register holds tells where it was read (the agent's tests check that): address * 40503 + unit * 257 + 1. */
static sl_result read_pattern(void *value);
static uint16_t words[60];
static int16_t signed_word = -2;
static uint32_t long_word = 0x12345678u;
static int32_t signed_long = -100000;
static float real = 230.1f;
static float small_first = 1.5f;
static uint64_t counter = 0x1122334455667788u;
static double precise = -2.5;
static uint8_t label[8] = {'s', 'l', 'u', 'i', 'c', 'e', 0, 0};
static uint16_t setpoint = 7;
static bool relays[8];
static bool doors[4] = {true, false, true, true};
static int16_t temperature;

static const uint16_t setpoint_limits[2] = {0, 1000};
static const float real_limits[2] = {-1000.0f, 1000.0f};

static sl_result read_pattern(void *value) {
  *(uint16_t *)value = 0x5AA5u;
  return SL_OK;
}

/** A tmp105 on the first bus: 16 bits, 1/256 of a degree each; here in hundredths. Boards without one say "failed". */
static sl_result read_temperature(void *value) {
  static const uint8_t pointer = 0;
  uint8_t raw[2];
  if (!sl_hal_i2c_transfer(0, 0x48, &pointer, 1, raw, 2)) return SL_FAILED;
  const int32_t parts = (int16_t)(uint16_t)((uint32_t)raw[0] << 8 | raw[1]);
  temperature = (int16_t)(parts * 100 / 256);
  *(int16_t *)value = temperature;
  return SL_OK;
}

/** 1: hangs with interrupts on, so that only the watchdog helps; 2: resets; 3: refuses. */
static sl_result write_command(const void *value) {
  switch (*(const uint16_t *)value) {
    case 1:
      for (;;) {
      }
    case 2:
      sl_hal_reset();
    case 3:
      return SL_BUSY;
    default:
      return SL_OK;
  }
}

static uint16_t command;
/* Tests of the flash: a word is programmed, the page erased, the word read back. */
static sl_result write_flash(const void *value) {
  const uint32_t word = *(const uint32_t *)value;
  if (word == 0) return sl_hal_flash_erase(SL_SETTINGS_ADDRESS, SL_FLASH_PAGE) ? SL_OK : SL_FAILED;
  return sl_hal_flash_program(SL_SETTINGS_ADDRESS, &word, sizeof word) ? SL_OK : SL_FAILED;
}
static sl_result read_flash(void *value) {
  return sl_hal_flash_read(SL_SETTINGS_ADDRESS, value, 4) ? SL_OK : SL_FAILED;
}

#define WORD(index) {(index), SL_U16, SL_WRITABLE, 1, (index), &words[index], NULL, NULL, NULL}
#define TEN(index)                                                                                                  \
  WORD(index), WORD((index) + 1), WORD((index) + 2), WORD((index) + 3), WORD((index) + 4), WORD((index) + 5),       \
      WORD((index) + 6), WORD((index) + 7), WORD((index) + 8), WORD((index) + 9)

static const sl_register holdings[] = {
    TEN(0), TEN(10), TEN(20), TEN(30), TEN(40), TEN(50),
    {100, SL_U16, SL_WRITABLE, 1, 60, &setpoint, setpoint_limits, NULL, NULL},
    {101, SL_I16, SL_WRITABLE, 1, 61, &signed_word, NULL, NULL, NULL},
    {102, SL_U32, SL_WRITABLE, 2, 62, &long_word, NULL, NULL, NULL},
    {104, SL_I32, SL_WRITABLE | SL_LOW_WORD_FIRST, 2, 63, &signed_long, NULL, NULL, NULL},
    {106, SL_F32, SL_WRITABLE, 2, 64, &real, real_limits, NULL, NULL},
    {108, SL_F32, SL_WRITABLE | SL_LOW_WORD_FIRST | SL_LOW_BYTE_FIRST, 2, 65, &small_first, NULL, NULL, NULL},
    {110, SL_U64, SL_WRITABLE | SL_LOW_BYTE_FIRST, 4, 66, &counter, NULL, NULL, NULL},
    {114, SL_F64, SL_WRITABLE, 4, 67, &precise, NULL, NULL, NULL},
    {118, SL_BYTES, SL_WRITABLE, 4, 68, label, NULL, NULL, NULL},
    {122, SL_BOOL, SL_WRITABLE, 1, 69, &relays[0], NULL, NULL, NULL},
    {123, SL_U16, 0, 1, 70, &setpoint, NULL, NULL, NULL},
    {200, SL_U16, SL_WRITABLE, 1, 71, &command, NULL, NULL, write_command},
    {202, SL_U32, SL_WRITABLE, 2, 72, NULL, NULL, read_flash, write_flash},
};

static const sl_register inputs[] = {
    {0, SL_I16, 0, 1, 80, &temperature, NULL, read_temperature, NULL},
    {1, SL_U16, 0, 1, 81, NULL, NULL, read_pattern, NULL},
    {2, SL_F32, 0, 2, 82, &real, NULL, NULL, NULL},
    {4, SL_U32, 0, 2, 83, &long_word, NULL, NULL, NULL},
    {6, SL_U16, 0, 1, 84, &setpoint, NULL, NULL, NULL},
    {7, SL_I16, 0, 1, 85, &signed_word, NULL, NULL, NULL},
};

#define RELAY(index) {(index), SL_BOOL, SL_WRITABLE, 1, 90 + (index), &relays[index], NULL, NULL, NULL}
static const sl_register coils[] = {RELAY(0), RELAY(1), RELAY(2), RELAY(3), RELAY(4), RELAY(5), RELAY(6), RELAY(7)};
#define DOOR(index) {(index), SL_BOOL, 0, 1, 98 + (index), &doors[index], NULL, NULL, NULL}
static const sl_register discretes[] = {DOOR(0), DOOR(1), DOOR(2), DOOR(3)};

#define TABLE(entries) {entries, sizeof(entries) / sizeof((entries)[0])}
static const sl_register_map map = {
    {TABLE(coils), TABLE(discretes), TABLE(holdings), TABLE(inputs)},
    sl_system_word, SL_SYSTEM_ADDRESS, SL_SYSTEM_WORDS,
};

static const char *const extended[] = {"0102030405060708"};
static const sl_identity identity = {
    {"Sluice", "SL-100", "1.2.3", NULL, "Hundred registers", SL_BOARD, NULL}, extended, 1,
};
static const sl_firmware firmware = {{1, 2, 3, 4, 5, 6, 7, 8}, 1, 2, 3};

static const sl_modbus_line lines[SL_LINES] = {
    {0, {SL_BAUD, SL_PARITY_NONE, 1}, SL_SHARED, false},
#if SL_LINES > 1
    {1, {SL_BAUD, SL_PARITY_NONE, 1}, SL_SHARED, false},
#endif
};
static sl_modbus_port ports[SL_LINES];

static void setup(void) {
  for (uint16_t i = 0; i < 60; i++) words[i] = (uint16_t)(i * 40503u + SL_UNIT * 257u + 1u);
}

static const sl_app app = {
    .map = &map, .identity = &identity, .firmware = &firmware, .unit = SL_UNIT,
    .lines = lines, .ports = ports, .line_count = SL_LINES, .setup = setup, .watchdog_ms = 500,
};

int main(void) { sl_run(&app); }
