/**
 * The board as a Linux process. Serial lines are pseudo-terminals or unix sockets, flash is a file, pins are memory.
 *
 *   firmware --uart 0=PATH [--uart 1=PATH] [--flash FILE] [--id HEX16]
 *
 * "Interrupts" happen in `sl_hal_idle` and whenever the time is asked: bytes that have come are handed on there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "hal.h"
#include "uart.h"

/* What a reset of the process must carry over, as a real board's RAM does. */
#define ENV_REASON "SLUICE_HOST_REASON"
#define ENV_NOTE "SLUICE_HOST_NOTE"

static char **arguments;
static const char *paths[SL_UART_COUNT];
static int lines[SL_UART_COUNT];
static uint8_t *flash;
static uint8_t id[8] = {'h', 'o', 's', 't'};
static uint32_t note[SL_NOTE_WORDS];
static sl_reset_reason reason = SL_RESET_POWER;
static bool pins[256];
static uint32_t watchdog_ms;

static _Noreturn void refuse(const char *what, const char *which) {
  fprintf(stderr, "firmware: %s%s%s%s\n", what, which, errno == 0 ? "" : ": ", errno == 0 ? "" : strerror(errno));
  exit(2);
}

static uint8_t *map_flash(const char *path) {
  const int protection = PROT_READ | PROT_WRITE;
  if (path == NULL) {
    uint8_t *memory = mmap(NULL, SL_FLASH_SIZE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) refuse("no memory for the flash", "");
    memset(memory, 0xFF, SL_FLASH_SIZE);
    return memory;
  }
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  struct stat now;
  if (file < 0 || fstat(file, &now) != 0) refuse("cannot open the flash file ", path);
  const bool blank = now.st_size < (off_t)SL_FLASH_SIZE;
  if (blank && ftruncate(file, SL_FLASH_SIZE) != 0) refuse("cannot size the flash file ", path);
  uint8_t *memory = mmap(NULL, SL_FLASH_SIZE, protection, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) refuse("cannot map the flash file ", path);
  if (blank) memset(memory + now.st_size, 0xFF, SL_FLASH_SIZE - (size_t)now.st_size);
  close(file);
  return memory;
}

static void read_id(const char *hex) {
  for (size_t i = 0; i < 8; i++) {
    unsigned byte;
    if (sscanf(hex + 2 * i, "%2x", &byte) != 1) refuse("--id wants 16 hexadecimal digits, not ", hex);
    id[i] = (uint8_t)byte;
  }
}

static void read_carried(void) {
  const char *why = getenv(ENV_REASON);
  if (why != NULL) reason = (sl_reset_reason)atoi(why);
  const char *words = getenv(ENV_NOTE);
  for (size_t i = 0; words != NULL && i < SL_NOTE_WORDS && strlen(words) >= 8 * (i + 1); i++) {
    sscanf(words + 8 * i, "%8x", &note[i]);
  }
  unsetenv(ENV_REASON);
  unsetenv(ENV_NOTE);
}

__attribute__((constructor)) static void start(int argc, char **argv) {
  arguments = argv;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  const char *flash_file = NULL;
  for (int i = 1; i < argc; i++) {
    const bool last = i + 1 == argc;
    if (!last && strcmp(argv[i], "--flash") == 0) {
      flash_file = argv[++i];
    } else if (!last && strcmp(argv[i], "--id") == 0) {
      read_id(argv[++i]);
    } else if (!last && strcmp(argv[i], "--uart") == 0 && argv[i + 1][0] >= '0' &&
               argv[i + 1][0] < '0' + SL_UART_COUNT && argv[i + 1][1] == '=') {
      i++;
      paths[argv[i][0] - '0'] = argv[i] + 2;
    } else {
      errno = 0;
      refuse("unknown or incomplete argument ", argv[i]);
    }
  }
  for (size_t i = 0; i < SL_UART_COUNT; i++) lines[i] = -1;
  read_carried();
  flash = map_flash(flash_file);
}

/* ---- time and sleep ---- */

uint32_t sl_hal_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

uint32_t sl_hal_irq_off(void) { return 0; }
void sl_hal_irq_restore(uint32_t state) { (void)state; }

static void take(uint8_t port) {
  uint8_t bytes[64];
  const ssize_t size = read(lines[port], bytes, sizeof bytes);
  for (ssize_t i = 0; i < size; i++) sl_uart_received(port, bytes[i], false);
  /* Whoever held the other end is gone, and the board with it: there is nothing to serve any more. */
  if (size == 0) exit(0);
  if (size < 0 && errno != EAGAIN && errno != EINTR && errno != EIO) refuse("cannot read from ", paths[port]);
}

void sl_hal_idle(uint32_t at_most_us) {
  struct pollfd wanted[SL_UART_COUNT];
  for (size_t i = 0; i < SL_UART_COUNT; i++) wanted[i] = (struct pollfd){.fd = lines[i], .events = POLLIN};
  const struct timespec patience = {at_most_us / 1000000u, (long)(at_most_us % 1000000u) * 1000};
  if (ppoll(wanted, SL_UART_COUNT, &patience, NULL) <= 0) return;
  for (uint8_t i = 0; i < SL_UART_COUNT; i++) {
    if (wanted[i].revents != 0) take(i);
  }
}

/* ---- serial ---- */

static int open_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -1;
  strcpy(address.sun_path, path);
  const int line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(line, (const struct sockaddr *)&address, sizeof address) != 0) return -1;
  return line;
}

static int open_terminal(const char *path) {
  const int line = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  struct termios raw;
  if (line < 0 || tcgetattr(line, &raw) != 0) return line;
  cfmakeraw(&raw);
  tcsetattr(line, TCSANOW, &raw);
  return line;
}

bool sl_hal_uart_open(uint8_t port, const sl_uart_line *line) {
  if (port >= SL_UART_COUNT || paths[port] == NULL || line->baud == 0) return false;
  struct stat kind;
  if (stat(paths[port], &kind) != 0) refuse("no such line: ", paths[port]);
  lines[port] = S_ISSOCK(kind.st_mode) ? open_socket(paths[port]) : open_terminal(paths[port]);
  if (lines[port] < 0) refuse("cannot open the line ", paths[port]);
  fcntl(lines[port], F_SETFL, fcntl(lines[port], F_GETFL) | O_NONBLOCK);
  return true;
}

void sl_hal_uart_start(uint8_t port) {
  uint8_t bytes[256];
  size_t size = 0;
  for (int32_t byte = sl_uart_next(port); byte >= 0 && size < sizeof bytes; byte = sl_uart_next(port)) {
    bytes[size++] = (uint8_t)byte;
  }
  for (size_t done = 0; lines[port] >= 0 && done < size;) {
    const ssize_t some = write(lines[port], bytes + done, size - done);
    if (some > 0) {
      done += (size_t)some;
    } else if (errno == EAGAIN) {
      struct pollfd room = {.fd = lines[port], .events = POLLOUT};
      poll(&room, 1, 1000);
    } else if (errno != EINTR) {
      return; /* nobody is there to hear it */
    }
  }
}

bool sl_hal_uart_drained(uint8_t port) {
  (void)port;
  return true;
}

/* ---- flash ---- */

sl_flash_geometry sl_hal_flash_geometry(void) {
  return (sl_flash_geometry){SL_FLASH_BASE, SL_FLASH_SIZE, SL_FLASH_PAGE};
}

static bool in_flash(uint32_t address, uint32_t size) {
  const uint32_t at = address - SL_FLASH_BASE;
  return address >= SL_FLASH_BASE && at <= SL_FLASH_SIZE && size <= SL_FLASH_SIZE - at;
}

bool sl_hal_flash_read(uint32_t address, void *to, uint32_t size) {
  if (!in_flash(address, size)) return false;
  memcpy(to, flash + (address - SL_FLASH_BASE), size);
  return true;
}

bool sl_hal_flash_erase(uint32_t address, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % SL_FLASH_PAGE != 0) return false;
  memset(flash + (address - SL_FLASH_BASE), 0xFF, size);
  return true;
}

bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size) {
  if (!in_flash(address, size) || (address | size) % 4u != 0) return false;
  const uint8_t *bytes = from;
  for (uint32_t i = 0; i < size; i++) flash[address - SL_FLASH_BASE + i] &= bytes[i];
  return true;
}

/* ---- watchdog, reset, identity ---- */

static _Noreturn void restart(sl_reset_reason why) {
  char word[8 * SL_NOTE_WORDS + 1];
  for (size_t i = 0; i < SL_NOTE_WORDS; i++) snprintf(word + 8 * i, 9, "%08x", note[i]);
  char number[4];
  snprintf(number, sizeof number, "%d", (int)why);
  setenv(ENV_NOTE, word, 1);
  setenv(ENV_REASON, number, 1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execv("/proc/self/exe", arguments);
  refuse("cannot start over", "");
}

static void bark(int signal_number) {
  (void)signal_number;
  restart(SL_RESET_WATCHDOG);
}

bool sl_hal_watchdog_start(uint32_t timeout_ms) {
  watchdog_ms = timeout_ms;
  signal(SIGALRM, bark);
  sl_hal_watchdog_feed();
  return true;
}

void sl_hal_watchdog_feed(void) {
  if (watchdog_ms == 0) return;
  const struct itimerval left = {.it_value = {watchdog_ms / 1000, (suseconds_t)(watchdog_ms % 1000) * 1000}};
  setitimer(ITIMER_REAL, &left, NULL);
}

_Noreturn void sl_hal_reset(void) { restart(SL_RESET_SOFTWARE); }

sl_reset_reason sl_hal_reset_reason(void) { return reason; }

volatile uint32_t *sl_hal_note(void) { return note; }

/** A process cannot run an image of a board: it says where it would have gone, and ends. */
_Noreturn void sl_hal_jump(uint32_t vectors) {
  fprintf(stderr, "jump 0x%08x\n", vectors);
  exit(0);
}

void sl_hal_unique_id(uint8_t out[8]) { memcpy(out, id, sizeof id); }

/* ---- hooks ---- */

bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode) {
  if (mode == SL_PIN_INPUT_PULL_UP) pins[pin] = true;
  return true;
}

void sl_hal_pin_write(uint8_t pin, bool high) { pins[pin] = high; }
bool sl_hal_pin_read(uint8_t pin) { return pins[pin]; }

bool sl_hal_adc_read(uint8_t channel, uint16_t *share) {
  (void)channel;
  (void)share;
  return false;
}

bool sl_hal_i2c_transfer(uint8_t bus, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in, size_t in_size) {
  (void)bus;
  (void)address;
  (void)out;
  (void)out_size;
  (void)in;
  (void)in_size;
  return false;
}
