/**
 * Says one byte before and one after checking an Ed25519 signature of 32 bytes, again and again: whoever has a clock that
 * the processor moves reads from it what a check costs. The signature, the key and the digest come from "signed.h".
 */
#include "board.h"
#include "ed25519.h"
#include "hal.h"
#include "sha256.h"
#include "signed.h"
#include "uart.h"

static uint8_t said[1];

static void say(uint8_t byte) {
  said[0] = byte;
  sl_uart_send(0, said, 1);
  while (sl_uart_sending(0)) continue;
}

int main(void) {
  const sl_uart_line line = {115200, SL_PARITY_NONE, 1};
  static sl_sha256 hash;
  uint8_t digest[SL_SHA256_SIZE];
  (void)sl_uart_open(0, &line, 1750, 10000);
  for (;;) {
    say('v');
    const bool good = sl_ed25519_verify(signature, key, message, sizeof message);
    say(good ? '+' : '-');
    say('h');
    sl_sha256_init(&hash);
    for (uint32_t i = 0; i < 128; i++) sl_sha256_update(&hash, signature, sizeof signature); /* 8 KiB */
    sl_sha256_final(&hash, digest);
    say(digest[0] == 0 ? '0' : '1');
  }
}
