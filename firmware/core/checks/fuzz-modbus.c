/**
 * Fuzzes the Modbus server with any PDU. fuzz: modbus.c registers.c
 *
 * The answer is of the function asked, or an exception of 1 to 6; it fits; memory that no writable register has stays as
 * it is; values keep their limits.
 */
#include <stdlib.h>
#include <string.h>

#include "../modbus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint16_t words[4];
static int16_t limited;
static uint32_t wide;
static float real;
static double precise;
static uint64_t huge;
static uint8_t text[6];
static bool flags[12];
static const uint16_t constant = 0xBEEF;
static const int16_t limits[2] = {-10, 10};
static const float real_limits[2] = {-1.0f, 1.0f};

static sl_result refuse(const void *value) { return *(const uint16_t *)value == 1 ? SL_BUSY : SL_FAILED; }
static sl_result fetch(void *value) {
  *(uint16_t *)value = 42;
  return SL_OK;
}

static const sl_register holdings[] = {
    {0, SL_U16, SL_WRITABLE, 1, 0, &words[0], NULL, NULL, NULL},
    {1, SL_U16, SL_WRITABLE, 1, 1, &words[1], NULL, NULL, NULL},
    {2, SL_I16, SL_WRITABLE, 1, 2, &limited, limits, NULL, NULL},
    {3, SL_U32, SL_WRITABLE | SL_LOW_WORD_FIRST, 2, 3, &wide, NULL, NULL, NULL},
    {5, SL_F32, SL_WRITABLE, 2, 4, &real, real_limits, NULL, NULL},
    {7, SL_F64, SL_WRITABLE | SL_LOW_BYTE_FIRST, 4, 5, &precise, NULL, NULL, NULL},
    {11, SL_U64, SL_WRITABLE | SL_LOW_WORD_FIRST | SL_LOW_BYTE_FIRST, 4, 6, &huge, NULL, NULL, NULL},
    {15, SL_BYTES, SL_WRITABLE, 3, 7, text, NULL, NULL, NULL},
    {18, SL_BOOL, SL_WRITABLE, 1, 8, &flags[0], NULL, NULL, NULL},
    {19, SL_U16, SL_WRITABLE, 1, 9, NULL, NULL, fetch, refuse},
    {20, SL_U16, 0, 1, 10, (void *)(uintptr_t)&constant, NULL, NULL, NULL},
    {65535, SL_U16, SL_WRITABLE, 1, 11, &words[3], NULL, NULL, NULL},
};
#define COIL(at) {(at), SL_BOOL, SL_WRITABLE, 1, 20 + (at), &flags[at], NULL, NULL, NULL}
static const sl_register coils[] = {COIL(0), COIL(1), COIL(2), COIL(3), COIL(4), COIL(5), COIL(6), COIL(7), COIL(8)};

static uint16_t word(uint16_t index) { return index; }
static const sl_register_map map = {
    {{coils, 9}, {coils, 9}, {holdings, 12}, {holdings, 12}}, word, 0xF000, 22,
};
static const char *const extended[] = {"0123456789abcdef", "", "x"};
static const sl_identity identity = {{"vendor", "code", "1.0", NULL, "name", NULL, NULL}, extended, 3};

static size_t user(const uint8_t *in, size_t size, uint8_t *out, size_t room) {
  if (size > room) abort();
  memcpy(out, in, size);
  return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static sl_rtu_counters line;
  static sl_modbus server = {&map, &identity, user, &line, {0, 0, 0}, 0, 0, 0};
  if (size < 1) return 0;
  /* Exactly as large as allowed, on the heap: the sanitizer sees a byte too much. */
  uint8_t *answer = malloc(SL_PDU_MAX);
  uint8_t *request = malloc(size);
  if (answer == NULL || request == NULL) abort();
  memcpy(request, data + 1, size - 1);
  const bool broadcast = (data[0] & 0x80u) != 0;
  const size_t length = sl_modbus_serve(&server, request, size - 1, broadcast, answer);
  if (length > SL_PDU_MAX || (broadcast && length != 0)) abort();
  if (length > 0) {
    if ((answer[0] & 0x7Fu) != (request[0] & 0x7Fu)) abort();
    if ((answer[0] & 0x80u) != 0 && (length != 2 || answer[1] < 1 || answer[1] > 6 || answer[1] == 5) &&
        (request[0] & 0x80u) == 0) {
      abort();
    }
  }
  if (limited < -10 || limited > 10 || !(real >= -1.0f && real <= 1.0f) || words[2] != 0 || constant != 0xBEEF) abort();
  free(request);
  free(answer);
  return 0;
}
