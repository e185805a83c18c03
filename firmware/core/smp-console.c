#include "smp-console.h"

#include "bytes.h"

/* Bytes in a line: 124 digits of base64 stand for 93 bytes; with marker and newline that makes 127. */
enum { LINE_BYTES = 93, NOT_OURS = 0xFFFF };

/* CRC-16/XMODEM: polynomial 0x1021, start 0; 0 over something that ends in its own CRC, high byte first. */
static uint16_t crc_byte(uint16_t crc, uint8_t byte) {
  crc = (uint16_t)(crc ^ (uint16_t)(byte << 8));
  for (unsigned bit = 0; bit < 8; bit++) {
    crc = (uint16_t)((crc & 0x8000u) != 0 ? (uint32_t)crc << 1 ^ 0x1021u : (uint32_t)crc << 1);
  }
  return crc;
}

void sl_smp_console_start(sl_smp_console *console, uint8_t *buffer, uint16_t room) {
  *console = (sl_smp_console){.buffer = buffer, .room = room};
}

static int digit(uint8_t byte) {
  if (byte >= 'A' && byte <= 'Z') return byte - 'A';
  if (byte >= 'a' && byte <= 'z') return byte - 'a' + 26;
  if (byte >= '0' && byte <= '9') return byte - '0' + 52;
  return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

static size_t whole(sl_smp_console *console) {
  if (console->size < 2u) return 0;
  size_t length = sl_get_be16(console->buffer);
  if (length < 2u || console->size < length + 2u) return 0;
  uint16_t crc = 0;
  for (size_t i = 0; i < length; i++) crc = crc_byte(crc, console->buffer[2u + i]);
  console->size = 0;
  console->first = false;
  return crc == 0 ? length - 2u : 0;
}

size_t sl_smp_console_push(sl_smp_console *console, uint8_t byte) {
  if (byte == '\n' || byte == '\r') {
    bool ours = console->column != NOT_OURS && console->marks == 2;
    console->column = 0;
    console->marks = 0;
    console->digits = 0;
    console->bits = 0;
    return ours ? whole(console) : 0;
  }
  if (console->column == NOT_OURS) {
    /* A marker may follow right behind noise or text without a newline. */
    if (byte != 0x06u && byte != 0x04u) return 0;
    console->column = 0;
    console->marks = 0;
  }
  if (++console->column > SL_SMP_LINE_MAX) {
    console->column = NOT_OURS;
    console->size = 0;
    return 0;
  }
  if (console->marks == 0 && (byte == 0x06u || byte == 0x04u)) {
    console->first = byte == 0x06u;
    console->marks = 1;
    return 0;
  }
  if (console->marks == 1 && byte == (console->first ? 0x09u : 0x14u)) {
    if (console->first) console->size = 0;
    console->marks = 2;
    console->digits = 0;
    console->bits = 0;
    return 0;
  }
  int value = console->marks == 2 ? digit(byte) : -1;
  if (value < 0) {
    if (console->marks == 2 && byte == '=') return 0;
    console->column = NOT_OURS;
    if (console->marks == 2) console->size = 0;
    return 0;
  }
  console->bits = console->bits << 6 | (uint32_t)value;
  if (++console->digits > 1u) {
    unsigned shift = 6u - 2u * (console->digits - 1u);
    if (console->size < console->room) console->buffer[console->size++] = (uint8_t)(console->bits >> shift);
    if (console->digits == 4u) console->digits = 0;
  }
  return 0;
}

typedef struct {
  uint8_t *out;
  size_t at;
  uint32_t bits;
  unsigned held;    /* bytes in bits */
  unsigned in_line; /* bytes of this line */
} line_writer;

static void flush(line_writer *w) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (w->held == 0) return;
  uint32_t bits = w->bits << (8u * (3u - w->held));
  for (unsigned i = 0; i < 4; i++) {
    w->out[w->at++] = i <= w->held ? (uint8_t)alphabet[(bits >> (18u - 6u * i)) & 63u] : (uint8_t)'=';
  }
  w->bits = 0;
  w->held = 0;
}

static void put(line_writer *w, uint8_t byte) {
  if (w->in_line == LINE_BYTES) {
    w->out[w->at++] = '\n';
    w->in_line = 0;
  }
  if (w->in_line++ == 0) {
    bool first = w->at == 0;
    w->out[w->at++] = first ? 0x06u : 0x04u;
    w->out[w->at++] = first ? 0x09u : 0x14u;
  }
  w->bits = w->bits << 8 | byte;
  if (++w->held == 3u) flush(w);
}

size_t sl_smp_console_encode(const uint8_t *packet, size_t size, uint8_t *out, size_t room) {
  if (size > 0xFFF0u || room < SL_SMP_CONSOLE_MAX(size)) return 0;
  line_writer w = {.out = out};
  uint16_t crc = 0;
  put(&w, (uint8_t)((size + 2u) >> 8));
  put(&w, (uint8_t)(size + 2u));
  for (size_t i = 0; i < size; i++) {
    crc = crc_byte(crc, packet[i]);
    put(&w, packet[i]);
  }
  put(&w, (uint8_t)(crc >> 8));
  put(&w, (uint8_t)crc);
  flush(&w);
  out[w.at++] = '\n';
  return w.at;
}
