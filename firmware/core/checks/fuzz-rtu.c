/**
 * Fuzzes the RTU framer. fuzz: rtu.c crc16.c
 *
 * Two bytes of input are one entry of the line, flags included; a third byte now and then is a silence. Whatever came,
 * what is handed out is a whole frame for us with a right CRC, and a clean request after a silence is heard: the first
 * one, unless rubbish before it and its first bytes happened to have the CRC of a frame together (one in 65 536), and the
 * second in any case.
 */
#include <stdlib.h>

#include "../crc16.h"
#include "../rtu.h"
#include "../uart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const sl_rtu *rtu) {
  if (rtu->size < 4 || rtu->size > SL_RTU_MAX) abort();
  if (rtu->bytes[0] != 0 && rtu->bytes[0] != rtu->unit) abort();
  if (sl_crc16(SL_CRC16_START, rtu->bytes, rtu->size) != 0) abort();
}

static bool poll(sl_rtu *rtu) {
  uint8_t request[8] = {7, 3, 0, 1, 0, 2};
  (void)sl_rtu_seal(request, 6);
  bool heard = false;
  for (unsigned i = 0; i < sizeof request; i++) {
    heard = sl_rtu_push(rtu, (uint16_t)(request[i] | (i == 0 ? SL_UART_GAP : 0u)));
    if (heard) check(rtu);
  }
  return heard;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sl_rtu rtu;
  sl_rtu_start(&rtu, 7);
  for (size_t at = 0; at + 1 < size; at += 2) {
    const uint16_t entry = (uint16_t)(data[at] | (uint32_t)(data[at + 1] & 7u) << 8);
    if (sl_rtu_push(&rtu, entry)) check(&rtu);
    if ((data[at + 1] & 0x18u) == 0x18u && sl_rtu_silence(&rtu)) check(&rtu);
  }
  const uint16_t frames = rtu.counters.messages;
  if (!poll(&rtu) && rtu.counters.messages == frames) abort();
  if (!poll(&rtu)) abort();
  if (!poll(&rtu)) abort();
  return 0;
}
