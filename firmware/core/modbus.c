#include "modbus.h"

#include "memory.h"

static uint16_t word(const uint8_t *bytes) { return (uint16_t)((uint32_t)bytes[0] << 8 | bytes[1]); }

static void put_word(uint8_t *bytes, uint16_t number) {
  bytes[0] = (uint8_t)(number >> 8);
  bytes[1] = (uint8_t)number;
}

/** What one function makes of a request: its result, and (when SL_OK) the length of the answer. */
typedef struct {
  sl_result result;
  size_t size;
} outcome;

static outcome failed(sl_result result) { return (outcome){result, 0}; }

static outcome answered(sl_result result, size_t size) { return (outcome){result, size}; }

/** Ranges end at 65 535. */
static bool in_space(uint16_t address, uint16_t count) { return (uint32_t)address + count <= 0x10000u; }

static outcome read_bits(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  const uint16_t address = word(&request[1]);
  const uint16_t count = word(&request[3]);
  if (size != 5 || count == 0 || count > 2000) return failed(SL_BAD_VALUE);
  if (!in_space(address, count)) return failed(SL_NO_ADDRESS);
  answer[1] = (uint8_t)((count + 7u) / 8u);
  memset(&answer[2], 0, answer[1]);
  const sl_table table = request[0] == 1 ? SL_COILS : SL_DISCRETES;
  return answered(sl_bits_read(server->map, table, address, count, &answer[2]), 2u + (size_t)answer[1]);
}

static outcome read_registers(const sl_modbus *server, const uint8_t *request, uint8_t *answer) {
  const uint16_t address = word(&request[1]);
  const uint16_t count = word(&request[3]);
  if (count == 0 || count > 125) return failed(SL_BAD_VALUE);
  if (!in_space(address, count)) return failed(SL_NO_ADDRESS);
  answer[1] = (uint8_t)(2u * count);
  const sl_table table = request[0] == 4 ? SL_INPUTS : SL_HOLDINGS;
  return answered(sl_registers_read(server->map, table, address, count, &answer[2]), 2u + (size_t)answer[1]);
}

static outcome write_coil(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  const uint16_t state = word(&request[3]);
  if (size != 5 || (state != 0 && state != 0xFF00u)) return failed(SL_BAD_VALUE);
  const uint8_t bit = state == 0 ? 0 : 1;
  memcpy(answer, request, 5);
  return answered(sl_bits_write(server->map, word(&request[1]), 1, &bit), 5);
}

static outcome write_register(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (size != 5) return failed(SL_BAD_VALUE);
  memcpy(answer, request, 5);
  return answered(sl_registers_write(server->map, word(&request[1]), 1, &request[3]), 5);
}

static outcome write_many(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (size < 6) return failed(SL_BAD_VALUE);
  const bool bits = request[0] == 15;
  const uint16_t address = word(&request[1]);
  const uint16_t count = word(&request[3]);
  const uint32_t bytes = bits ? (count + 7u) / 8u : 2u * (uint32_t)count;
  if (count == 0 || count > (bits ? 1968 : 123) || request[5] != bytes || size != 6u + bytes) {
    return failed(SL_BAD_VALUE);
  }
  if (!in_space(address, count)) return failed(SL_NO_ADDRESS);
  memcpy(answer, request, 5);
  return answered(bits ? sl_bits_write(server->map, address, count, &request[6])
                       : sl_registers_write(server->map, address, count, &request[6]),
                  5);
}

static outcome mask_register(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (size != 7) return failed(SL_BAD_VALUE);
  const uint16_t address = word(&request[1]);
  uint8_t bytes[2];
  const sl_result read = sl_registers_read(server->map, SL_HOLDINGS, address, 1, bytes);
  if (read != SL_OK) return failed(read);
  const uint16_t and_mask = word(&request[3]);
  const uint32_t masked = ((uint32_t)word(bytes) & and_mask) | (word(&request[5]) & ~(uint32_t)and_mask);
  put_word(bytes, (uint16_t)masked);
  memcpy(answer, request, 7);
  return answered(sl_registers_write(server->map, address, 1, bytes), 7);
}

/** Writes before it reads (section 6.17). */
static outcome write_and_read(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (size < 10) return failed(SL_BAD_VALUE);
  const uint16_t read_count = word(&request[3]);
  const uint16_t address = word(&request[5]);
  const uint16_t count = word(&request[7]);
  const uint32_t bytes = 2u * (uint32_t)count;
  if (read_count == 0 || read_count > 125 || count == 0 || count > 121) return failed(SL_BAD_VALUE);
  if (request[9] != bytes || size != 10u + bytes) return failed(SL_BAD_VALUE);
  if (!in_space(address, count)) return failed(SL_NO_ADDRESS);
  /* Nothing is written when the read cannot succeed: the answer would hide that it was. */
  const outcome before = read_registers(server, request, answer);
  if (before.result != SL_OK) return before;
  const sl_result written = sl_registers_write(server->map, address, count, &request[10]);
  return written == SL_OK ? read_registers(server, request, answer) : failed(written);
}

static uint16_t diagnostic_counter(const sl_modbus *server, uint16_t which) {
  switch (which) {
    case 11:
      return (uint16_t)(server->line->messages - server->line_from.messages);
    case 12:
      return (uint16_t)(server->line->crc_errors - server->line_from.crc_errors);
    case 13:
      return server->exceptions;
    case 14:
      return server->served;
    case 15:
      return server->unanswered;
    case 18:
      return (uint16_t)(server->line->overruns - server->line_from.overruns);
    default:
      return 0; /* 2: the diagnostic register, which has no bits here */
  }
}

static outcome diagnose(sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (size < 5) return failed(SL_BAD_VALUE);
  const uint16_t which = word(&request[1]);
  memcpy(answer, request, size);
  if (which == 0) return answered(SL_OK, size);
  const uint16_t data = word(&request[3]);
  const bool clears = which == 1 || which == 10;
  if (!clears && which != 2 && (which < 11 || which > 15) && which != 18) return failed(SL_NO_FUNCTION);
  if (size != 5 || (data != 0 && !(which == 1 && data == 0xFF00u))) return failed(SL_BAD_VALUE);
  if (clears) {
    server->line_from = *server->line;
    server->served = 0;
    server->exceptions = 0;
    server->unanswered = 0;
  } else {
    put_word(&answer[3], diagnostic_counter(server, which));
  }
  return answered(SL_OK, 5);
}

static const char *identity_object(const sl_identity *identity, uint32_t id) {
  if (id < 7) return identity->objects[id];
  if (id >= 0x80u && id - 0x80u < identity->extended_count) return identity->extended[id - 0x80u];
  return NULL;
}

static size_t text_size(const char *text) {
  size_t size = 0;
  while (size < 200 && text[size] != '\0') size++;
  return size;
}

/** Section 6.21: as many objects as fit, and where to go on. */
static outcome identify(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (size < 4 || request[1] != 14) return failed(SL_NO_FUNCTION);
  const uint8_t code = request[2];
  uint32_t id = request[3];
  if (size != 4 || code == 0 || code > 4) return failed(SL_BAD_VALUE);
  const bool single = code == 4;
  if (identity_object(server->identity, id) == NULL) {
    if (single) return failed(SL_NO_ADDRESS);
    id = 0;
  }
  const uint32_t end = single ? id + 1u : code == 1 ? 3u : code == 2 ? 7u : 256u;
  memcpy(answer, request, 3);
  answer[3] = server->identity->extended_count > 0 ? 0x83 : 0x82;
  memset(&answer[4], 0, 3);
  size_t used = 7;
  for (; id < end; id++) {
    const char *text = identity_object(server->identity, id);
    if (text == NULL) continue;
    const size_t length = text_size(text);
    if (used + 2u + length > SL_PDU_MAX) {
      answer[4] = 0xFF;
      answer[5] = (uint8_t)id;
      break;
    }
    answer[used] = (uint8_t)id;
    answer[used + 1u] = (uint8_t)length;
    memcpy(&answer[used + 2u], text, length);
    used += 2u + length;
    answer[6]++;
  }
  return answered(SL_OK, used);
}

static outcome user(const sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  if (server->user == NULL) return failed(SL_NO_FUNCTION);
  if (size < 2 || request[1] != size - 2u) return failed(SL_BAD_VALUE);
  const size_t length = server->user(&request[2], size - 2u, &answer[2], SL_PDU_MAX - 2u);
  if (length == 0 || length > SL_PDU_MAX - 2u) return failed(SL_FAILED);
  answer[0] = request[0];
  answer[1] = (uint8_t)length;
  return answered(SL_OK, length + 2u);
}

static outcome serve(sl_modbus *server, const uint8_t *request, size_t size, uint8_t *answer) {
  const uint8_t function = request[0];
  answer[0] = function;
  if (function == 43) return identify(server, request, size, answer);
  if (function == SL_USER_FUNCTION) return user(server, request, size, answer);
  /* All others have an address and a number at least; the CRC was right, so the request itself is wrong. */
  const bool known = (function >= 1 && function <= 6) || function == 8 || function == 15 || function == 16 ||
                     function == 22 || function == 23;
  if (!known) return failed(SL_NO_FUNCTION);
  if (size < 5) return failed(SL_BAD_VALUE);
  switch (function) {
    case 1:
    case 2:
      return read_bits(server, request, size, answer);
    case 3:
    case 4:
      return size == 5 ? read_registers(server, request, answer) : failed(SL_BAD_VALUE);
    case 5:
      return write_coil(server, request, size, answer);
    case 6:
      return write_register(server, request, size, answer);
    case 8:
      return diagnose(server, request, size, answer);
    case 22:
      return mask_register(server, request, size, answer);
    case 23:
      return write_and_read(server, request, size, answer);
    default:
      return write_many(server, request, size, answer);
  }
}

static bool is_write(uint8_t function) {
  return function == 5 || function == 6 || function == 15 || function == 16 || function == 22;
}

size_t sl_modbus_serve(sl_modbus *server, const uint8_t *request, size_t size, bool broadcast, uint8_t *answer) {
  if (size == 0 || size > SL_PDU_MAX) return 0;
  server->served++;
  if (broadcast) {
    server->unanswered++;
    if (is_write(request[0])) (void)serve(server, request, size, answer);
    return 0;
  }
  const outcome done = serve(server, request, size, answer);
  if (done.result == SL_OK) return done.size;
  server->exceptions++;
  answer[0] = (uint8_t)(request[0] | 0x80u);
  answer[1] = (uint8_t)done.result;
  return 2;
}
