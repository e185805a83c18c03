#include "uart.h"

#include "board.h"
#include "memory.h"

/* 256 places: 22 ms of a line at 115 200 baud may pass before the main loop looks. */
#define RING 256u

typedef struct {
  volatile uint16_t ring[RING];
  volatile uint16_t head; /* where the interrupt writes next */
  volatile uint16_t tail; /* where the main loop reads next */
  volatile uint32_t last_us;
  volatile bool damaged; /* to be told with the next byte that is kept */
  volatile bool heard;   /* anything at all so far */
  uint32_t gap_us;
  uint32_t pause_us;
  const uint8_t *volatile out;
  volatile size_t left;
  bool sending;
} line;

static line lines[SL_UART_COUNT];

bool sl_uart_open(uint8_t port, const sl_uart_line *settings, uint32_t gap_us, uint32_t pause_us) {
  if (port >= SL_UART_COUNT) return false;
  memset(&lines[port], 0, sizeof lines[port]);
  lines[port].gap_us = gap_us;
  lines[port].pause_us = pause_us;
  return sl_hal_uart_open(port, settings);
}

void sl_uart_received(uint8_t port, uint8_t byte, bool damaged) {
  line *one = &lines[port];
  const uint32_t now_us = sl_hal_now_us();
  const uint32_t silent_us = now_us - one->last_us;
  uint32_t entry = byte;
  if (!one->heard || silent_us >= one->pause_us) {
    entry |= SL_UART_GAP | SL_UART_PAUSE;
  } else if (silent_us >= one->gap_us) {
    entry |= SL_UART_GAP;
  }
  if (damaged || one->damaged) entry |= SL_UART_DAMAGED;
  one->heard = true;
  one->last_us = now_us;
  const uint16_t after = (uint16_t)((one->head + 1u) % RING);
  if (after == one->tail) {
    one->damaged = true; /* no room: whatever comes next does not follow what is there */
    return;
  }
  one->damaged = false;
  one->ring[one->head] = (uint16_t)entry;
  one->head = after;
}

int32_t sl_uart_read(uint8_t port) {
  line *one = &lines[port];
  const uint16_t tail = one->tail;
  if (tail == one->head) return -1;
  const int32_t entry = one->ring[tail];
  one->tail = (uint16_t)((tail + 1u) % RING);
  return entry;
}

bool sl_uart_waiting(uint8_t port) { return lines[port].tail != lines[port].head; }

uint32_t sl_uart_silence_us(uint8_t port) {
  /* In this order: a byte that comes in between must not look like one from the future. */
  const uint32_t last_us = lines[port].last_us;
  return sl_hal_now_us() - last_us;
}

void sl_uart_send(uint8_t port, const uint8_t *bytes, size_t size) {
  line *one = &lines[port];
  if (size == 0) return;
  const uint32_t state = sl_hal_irq_off();
  one->out = bytes;
  one->left = size;
  one->sending = true;
  sl_hal_irq_restore(state);
  sl_hal_uart_start(port);
}

bool sl_uart_sending(uint8_t port) {
  line *one = &lines[port];
  if (one->sending && one->left == 0 && sl_hal_uart_drained(port)) one->sending = false;
  return one->sending;
}

int32_t sl_uart_next(uint8_t port) {
  line *one = &lines[port];
  if (one->left == 0) return -1;
  one->left--;
  return *one->out++;
}

uint32_t sl_uart_t35_us(uint32_t baud) {
  if (baud > 19200u) return 1750u;
  return baud == 0 ? 0 : (38500000u + baud - 1u) / baud;
}
