#include "rtu.h"

#include "crc16.h"
#include "memory.h"
#include "uart.h"

#define UNKNOWN 0xFFFFu

/** Whole frames have one of these lengths: 0 while it cannot be told yet, UNKNOWN when nobody can tell. */
static uint16_t request_length(const uint8_t *frame, uint16_t size) {
  switch (frame[1]) {
    case 1: case 2: case 3: case 4: case 5: case 6: case 8:
      return 8;
    case 7: case 11: case 12: case 17:
      return 4;
    case 15: case 16:
      return size < 7 ? 0 : (uint16_t)(9u + frame[6]);
    case 20: case 21: case 0x41:
      return size < 3 ? 0 : (uint16_t)(5u + frame[2]);
    case 22:
      return 10;
    case 23:
      return size < 11 ? 0 : (uint16_t)(13u + frame[10]);
    case 24:
      return 6;
    case 43:
      return 7;
    default:
      return UNKNOWN;
  }
}

/** Read device identification: a list of objects, each with its own length. */
static uint16_t identification_length(const uint8_t *frame, uint16_t size) {
  if (size < 8) return 0;
  uint16_t at = 8;
  for (uint8_t left = frame[7]; left > 0; left--) {
    if (size < at + 2u) return 0;
    at = (uint16_t)(at + 2u + frame[at + 1u]);
  }
  return (uint16_t)(at + 2u);
}

static uint16_t answer_length(const uint8_t *frame, uint16_t size) {
  if ((frame[1] & 0x80u) != 0) return 5;
  switch (frame[1]) {
    case 1: case 2: case 3: case 4: case 12: case 17: case 20: case 21: case 23: case 0x41:
      return size < 3 ? 0 : (uint16_t)(5u + frame[2]);
    case 5: case 6: case 8: case 11: case 15: case 16:
      return 8;
    case 7:
      return 5;
    case 22:
      return 10;
    case 24:
      return size < 4 ? 0 : (uint16_t)(6u + ((uint32_t)frame[2] << 8) + frame[3]);
    case 43:
      return identification_length(frame, size);
    default:
      return UNKNOWN;
  }
}

static bool crc_fits(const uint8_t *frame, uint16_t size) { return sl_crc16(SL_CRC16_START, frame, size) == 0; }

typedef enum { OPEN, REQUEST, ANSWER, DEAD } verdict;

/** What the bytes from `from` on are. They grow by one between two calls, so a frame is seen when it is exactly whole. */
static verdict judge(const sl_rtu *rtu, uint16_t from) {
  const uint8_t *frame = &rtu->bytes[from];
  const uint16_t size = (uint16_t)(rtu->size - from);
  if (size < 4) return OPEN;
  const uint16_t asked = request_length(frame, size);
  if (asked == size && crc_fits(frame, size)) return REQUEST;
  /* Our own answers come back only as an echo, and nobody answers for all. */
  const bool ours = frame[0] == rtu->unit || frame[0] == 0;
  const uint16_t answered = ours ? asked : answer_length(frame, size);
  if (!ours && answered == size && crc_fits(frame, size)) return ANSWER;
  if (size >= SL_RTU_MAX) return DEAD;
  /* Diagnostics may carry more than one word: as long as anything can follow, the silence decides. */
  if (asked == UNKNOWN || answered == UNKNOWN || frame[1] == 8) return OPEN;
  const bool over = asked != 0 && answered != 0 && size >= asked && size >= answered;
  return over ? DEAD : OPEN;
}

static void count(uint16_t *counter) { *counter = (uint16_t)(*counter + 1u); }

static void forget(sl_rtu *rtu) {
  rtu->size = 0;
  rtu->marks = 0;
}

/** Gives the first `beginnings` up: what comes after the next silence is the first now. */
static void drop(sl_rtu *rtu, uint8_t beginnings) {
  const uint16_t from = rtu->mark[beginnings - 1u];
  memmove(rtu->bytes, &rtu->bytes[from], (size_t)(rtu->size - from));
  rtu->size = (uint16_t)(rtu->size - from);
  rtu->marks = (uint8_t)(rtu->marks - beginnings);
  for (uint8_t i = 0; i < rtu->marks; i++) rtu->mark[i] = (uint16_t)(rtu->mark[i + beginnings] - from);
  rtu->counters.crc_errors = (uint16_t)(rtu->counters.crc_errors + beginnings);
}

static uint16_t beginning(const sl_rtu *rtu, uint8_t which) { return which == 0 ? 0 : rtu->mark[which - 1u]; }

/** A whole frame begins at `which`: true when it is for us; any other one is stepped over. */
static bool settle(sl_rtu *rtu, uint8_t which, verdict result) {
  count(&rtu->counters.messages);
  if (which > 0) drop(rtu, which);
  rtu->whole = true;
  return result == REQUEST && (rtu->bytes[0] == rtu->unit || rtu->bytes[0] == 0);
}

static bool look(sl_rtu *rtu) {
  for (uint8_t which = 0; which <= rtu->marks; which++) {
    const verdict result = judge(rtu, beginning(rtu, which));
    if (result == REQUEST || result == ANSWER) return settle(rtu, which, result);
  }
  while (judge(rtu, 0) == DEAD) {
    if (rtu->marks == 0) {
      count(&rtu->counters.crc_errors);
      forget(rtu);
      rtu->lost = true;
      break;
    }
    drop(rtu, 1);
  }
  return false;
}

void sl_rtu_start(sl_rtu *rtu, uint8_t unit) {
  memset(rtu, 0, sizeof *rtu);
  rtu->unit = unit;
  rtu->lost = true;
}

static bool is_echo(sl_rtu *rtu, uint8_t byte, uint16_t entry) {
  if (rtu->echo_left == 0) return false;
  if ((entry & SL_UART_PAUSE) == 0 && (entry & SL_UART_DAMAGED) == 0 && *rtu->echo == byte) {
    rtu->echo++;
    rtu->echo_left--;
    return true;
  }
  /* Somebody spoke at the same time, or this adapter swallows what we send. */
  rtu->echo_left = 0;
  return false;
}

bool sl_rtu_push(sl_rtu *rtu, uint16_t entry) {
  const uint8_t byte = (uint8_t)entry;
  if (is_echo(rtu, byte, entry)) return false;
  if (rtu->whole) {
    rtu->whole = false;
    forget(rtu);
  }
  if ((entry & SL_UART_GAP) != 0) {
    if (rtu->size > 0 && (entry & SL_UART_PAUSE) != 0) {
      count(&rtu->counters.crc_errors);
      forget(rtu);
    }
    if (rtu->marks == SL_RTU_MARKS) drop(rtu, 1);
    if (rtu->size > 0) rtu->mark[rtu->marks++] = rtu->size;
    rtu->lost = false;
  }
  if ((entry & SL_UART_DAMAGED) != 0) {
    count(&rtu->counters.overruns);
    forget(rtu);
    rtu->lost = true;
  }
  if (rtu->lost) return false;
  rtu->told = false;
  rtu->bytes[rtu->size++] = byte;
  return look(rtu);
}

bool sl_rtu_open_end(const sl_rtu *rtu) { return !rtu->whole && !rtu->lost && !rtu->told && rtu->size > 0; }

bool sl_rtu_silence(sl_rtu *rtu) {
  if (!sl_rtu_open_end(rtu)) return false;
  rtu->told = true;
  for (uint8_t which = 0; which <= rtu->marks; which++) {
    const uint8_t *frame = &rtu->bytes[beginning(rtu, which)];
    const uint16_t size = (uint16_t)(rtu->size - beginning(rtu, which));
    if (size < 4 || (frame[1] & 0x80u) != 0) continue;
    const bool unbounded = request_length(frame, size) == UNKNOWN || frame[1] == 8;
    if (unbounded && crc_fits(frame, size)) return settle(rtu, which, REQUEST);
  }
  return false;
}

void sl_rtu_expect_echo(sl_rtu *rtu, const uint8_t *bytes, uint16_t size) {
  rtu->echo = bytes;
  rtu->echo_left = size;
}

uint16_t sl_rtu_seal(uint8_t *frame, uint16_t size) {
  const uint16_t crc = sl_crc16(SL_CRC16_START, frame, size);
  frame[size] = (uint8_t)crc;
  frame[size + 1u] = (uint8_t)(crc >> 8);
  return (uint16_t)(size + 2u);
}
