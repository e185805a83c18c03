/*
 * Remembers what signature checks gave, for sweeps that boot the same few images a hundred thousand times. Linked with
 * --wrap=sl_ed25519_verify; every distinct question is still answered by the real code.
 */
#include <string.h>

#include "../ed25519.h"

bool __real_sl_ed25519_verify(const uint8_t *signature, const uint8_t *key, const void *message, size_t length);
bool __wrap_sl_ed25519_verify(const uint8_t *signature, const uint8_t *key, const void *message, size_t length);

enum { PLACES = 64 };

bool __wrap_sl_ed25519_verify(const uint8_t *signature, const uint8_t *key, const void *message, size_t length) {
  static struct {
    uint8_t question[64 + 32 + 32];
    bool answer;
  } known[PLACES];
  static unsigned used;
  uint8_t question[64 + 32 + 32];
  if (length != 32) return __real_sl_ed25519_verify(signature, key, message, length);
  memcpy(question, signature, 64);
  memcpy(question + 64, key, 32);
  memcpy(question + 96, message, 32);
  for (unsigned i = 0; i < used && i < PLACES; i++) {
    if (memcmp(known[i].question, question, sizeof question) == 0) return known[i].answer;
  }
  unsigned place = used++ % PLACES;
  memcpy(known[place].question, question, sizeof question);
  known[place].answer = __real_sl_ed25519_verify(signature, key, message, length);
  return known[place].answer;
}
