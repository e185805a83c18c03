/**
 * The main loop: serves Modbus on the board's lines, calls the application, feeds the watchdog, sleeps in between.
 *
 * An application is one constant `sl_app`, which the generator emits, and `int main(void) { sl_run(&app); }`. Its hooks
 * run in the main loop: one that takes longer than the watchdog's time resets the board, and on an RS-485 line one that
 * takes longer than t3.5 while an answer leaves holds the line that much longer.
 */
#ifndef SL_RUNTIME_H
#define SL_RUNTIME_H

#include "hal.h"
#include "modbus.h"
#include "rtu.h"
#include "uart.h"

/** One line on which the registers are served. */
typedef struct {
  uint8_t uart;
  sl_uart_line settings;
  /** Others are on this line: an answer begins no sooner than t3.5 after its request. */
  bool shared;
  /** The adapter hands back what is sent. */
  bool echo;
} sl_modbus_line;

/** What one line needs in RAM. */
typedef struct {
  sl_rtu rtu;
  sl_modbus server;
  uint8_t frame[SL_RTU_MAX];
  uint32_t t35_us;
  bool ready; /* a request to us is whole and not answered yet */
} sl_modbus_port;

typedef struct {
  /** First 8 bytes of the SHA-256 of the canonical model: the gateway compares it with its own. */
  uint8_t model_hash[8];
  uint8_t major;
  uint8_t minor;
  uint16_t revision;
} sl_firmware;

typedef struct {
  const sl_register_map *map;
  const sl_identity *identity;
  const sl_firmware *firmware;
  uint8_t unit; /* 1 to 247 */
  const sl_modbus_line *lines;
  sl_modbus_port *ports; /* as many as lines */
  uint8_t line_count;
  sl_user_function user;
  /** What the bootloader knows, words 0 and 1 of `SL_SYSTEM_SLOT`; NULL: there is no bootloader. */
  uint16_t (*boot_state)(uint16_t which);
  void (*setup)(void);       /* once; NULL: none */
  void (*loop)(void);        /* again and again; NULL: none */
  uint32_t loop_every_us;    /* at most so much sleep between two calls of `loop`; 0: only when something happens */
  uint32_t watchdog_ms;      /* 0: none */
} sl_app;

/** Opens the lines and never returns. A line that cannot be opened is left out. */
_Noreturn void sl_run(const sl_app *app);

/** The parts of `sl_run`, for whoever has a loop of his own. */
void sl_start(const sl_app *app);
void sl_poll(void);
void sl_sleep(uint32_t at_most_us);

/** Changes the unit that is answered for, from the next request on. */
void sl_set_unit(uint8_t unit);

/** Whole seconds since the board started. */
uint32_t sl_uptime_s(void);

/** Input registers of every board, from `SL_SYSTEM_ADDRESS` on; put `sl_system_word` into the register map. */
#define SL_SYSTEM_ADDRESS 0xF000u
enum {
  SL_SYSTEM_MAGIC = 0,       /* 0x534C */
  SL_SYSTEM_LAYOUT = 1,      /* of this block: 1 */
  SL_SYSTEM_MODEL = 2,       /* 4 words: the model hash, its first byte first */
  SL_SYSTEM_VERSION = 6,     /* major and minor in a byte each */
  SL_SYSTEM_REVISION = 7,
  SL_SYSTEM_SLOT = 8,        /* 0 A, 1 B, 0xFFFF started without a bootloader */
  SL_SYSTEM_BOOT_STATE = 9,  /* the bootloader's word for this boot; 0 without one */
  SL_SYSTEM_RESET = 10,      /* sl_reset_reason */
  SL_SYSTEM_UPTIME = 11,     /* 2 words: seconds, high word first */
  SL_SYSTEM_MESSAGES = 13,   /* frames seen on the first line */
  SL_SYSTEM_CRC_ERRORS = 14,
  SL_SYSTEM_OVERRUNS = 15,
  SL_SYSTEM_SERVED = 16,     /* requests to this unit */
  SL_SYSTEM_EXCEPTIONS = 17,
  SL_SYSTEM_UNIQUE_ID = 18,  /* 4 words */
  SL_SYSTEM_WORDS = 22
};
uint16_t sl_system_word(uint16_t index);

#endif
