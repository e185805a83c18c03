/**
 * The framer on text, for tests: a line of input is a scenario, a unit and then entries in hexadecimal, flags included,
 * or `S` for a silence or `E` followed by bytes that come back as an echo. A line of output is what was handed out: the
 * number of the entry, a colon, the frame; and at last the counters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../rtu.h"

static void tell(const sl_rtu *rtu, unsigned number) {
  printf("%u:", number);
  for (uint16_t i = 0; i < rtu->size; i++) printf("%02x", rtu->bytes[i]);
  putchar(' ');
}

static void play(char *scenario) {
  static sl_rtu rtu;
  static uint8_t echo[SL_RTU_MAX];
  char *word = strtok(scenario, " ");
  sl_rtu_start(&rtu, (uint8_t)strtoul(word, NULL, 10));
  unsigned number = 0;
  for (word = strtok(NULL, " "); word != NULL; word = strtok(NULL, " "), number++) {
    if (word[0] == 'S') {
      if (sl_rtu_silence(&rtu)) tell(&rtu, number);
    } else if (word[0] == 'E') {
      uint16_t size = 0;
      for (const char *at = word + 1; at[0] != '\0' && at[1] != '\0'; at += 2) {
        const char pair[3] = {at[0], at[1], '\0'};
        echo[size++] = (uint8_t)strtoul(pair, NULL, 16);
      }
      sl_rtu_expect_echo(&rtu, echo, size);
    } else if (sl_rtu_push(&rtu, (uint16_t)strtoul(word, NULL, 16))) {
      tell(&rtu, number);
    }
  }
  printf("| %u %u %u\n", rtu.counters.messages, rtu.counters.crc_errors, rtu.counters.overruns);
}

int main(void) {
  static char line[1 << 20];
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    play(line);
  }
  return 0;
}
