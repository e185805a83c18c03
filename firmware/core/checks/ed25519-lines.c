/* Answers one line "1" or "0" for each line "key signature message" in hexadecimal ("-" is an empty message). */
#include <stdio.h>
#include <string.h>

#include "../ed25519.h"
#include "../sha256.h"
#include "../sha512.h"

static char line[16384];
static unsigned char message[8192];

static size_t unhex(const char *text, unsigned char *out, size_t room) {
  size_t n = 0;
  unsigned value;
  while (n < room && text[0] != '\0' && sscanf(text, "%2x", &value) == 1) {
    out[n++] = (unsigned char)value;
    text += 2;
  }
  return n;
}

static void print_hex(const unsigned char *bytes, size_t n) {
  while (n-- > 0) printf("%02x", *bytes++);
}

int main(void) {
  while (fgets(line, sizeof line, stdin) != NULL) {
    unsigned char key[32] = {0};
    unsigned char signature[64] = {0};
    const char *first = strtok(line, " \n");
    const char *second = strtok(NULL, " \n");
    const char *third = strtok(NULL, " \n");
    if (first == NULL || second == NULL) return 1;
    if (strcmp(first, "hash") == 0) {
      unsigned char digest[64];
      size_t n = second[0] == '-' ? 0 : unhex(second, message, sizeof message);
      sl_sha256 small;
      sl_sha512 large;
      sl_sha256_init(&small);
      /* In two uneven parts, so that blocks are filled across calls. */
      sl_sha256_update(&small, message, n / 3);
      sl_sha256_update(&small, message + n / 3, n - n / 3);
      sl_sha256_final(&small, digest);
      print_hex(digest, 32);
      printf(" ");
      sl_sha512_init(&large);
      sl_sha512_update(&large, message, n / 3);
      sl_sha512_update(&large, message + n / 3, n - n / 3);
      sl_sha512_final(&large, digest);
      print_hex(digest, 64);
      printf("\n");
      continue;
    }
    if (third == NULL) return 1;
    unhex(first, key, sizeof key);
    unhex(second, signature, sizeof signature);
    size_t n = third[0] == '-' ? 0 : unhex(third, message, sizeof message);
    printf("%d\n", sl_ed25519_verify(signature, key, message, n) ? 1 : 0);
  }
  return 0;
}
