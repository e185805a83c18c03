/**
 * What the core, the bootloader and an application need of a system on chip: one small port a SoC (firmware/soc/).
 *
 * Everything here may be called with interrupts on, from the main loop only, unless a line says otherwise. No call
 * allocates. Addresses are those the processor sees; the layout of a board (SL_FLASH_BASE, SL_SLOT_A_ADDRESS, ...) is in
 * the generated "board.h".
 */
#ifndef SL_HAL_H
#define SL_HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- serial lines ------------------------------------------------------------------------------------------------ */

typedef enum { SL_PARITY_NONE, SL_PARITY_EVEN, SL_PARITY_ODD } sl_parity;

typedef struct {
  uint32_t baud;
  sl_parity parity;
  uint8_t stop_bits; /* 1 or 2 */
} sl_uart_line;

/**
 * Opens one of the board's lines (0 to SL_UART_COUNT - 1). From then on the port's interrupt hands every byte to
 * `sl_uart_received` (uart.h) and takes what is to be sent from `sl_uart_next`. False: the SoC cannot have this line.
 */
bool sl_hal_uart_open(uint8_t port, const sl_uart_line *line);

/** Something is to be sent: switches the driver of an RS-485 line on and lets the interrupt pull `sl_uart_next`. */
void sl_hal_uart_start(uint8_t port);

/** True when the last stop bit has left the wire; then also switches the driver of an RS-485 line off. */
bool sl_hal_uart_drained(uint8_t port);

/* ---- time and sleep ---------------------------------------------------------------------------------------------- */

/** Microseconds of a timer that runs freely and never stops; wraps after 71 minutes. Callable from interrupts. */
uint32_t sl_hal_now_us(void);

/** Masks interrupts and returns what `sl_hal_irq_restore` wants back. Nests. */
uint32_t sl_hal_irq_off(void);
void sl_hal_irq_restore(uint32_t state);

/**
 * Sleeps until an interrupt is pending or `at_most_us` have passed. MUST be called with interrupts masked, after testing
 * under that mask that there is nothing to do: an interrupt that comes in between then ends the sleep at once.
 */
void sl_hal_idle(uint32_t at_most_us);

/* ---- flash: NOR, erased to ones, programmed to zeros ------------------------------------------------------------- */

typedef struct {
  uint32_t base; /* where the processor sees it */
  uint32_t size; /* bytes */
  uint32_t page; /* bytes erased together; a power of two */
} sl_flash_geometry;

sl_flash_geometry sl_hal_flash_geometry(void);

/** Copies out of the flash. False: the range is not in it. */
bool sl_hal_flash_read(uint32_t address, void *to, uint32_t size);

/** Erases whole pages to 0xFF: `address` and `size` are multiples of a page. False: they are not, or the part refused. */
bool sl_hal_flash_erase(uint32_t address, uint32_t size);

/**
 * Programs whole words: `address` and `size` are multiples of 4. A word may be programmed once after an erase and once
 * more to zero: that is what every supported part can do (nRF51: two writes a word; STM32F1: 0xFFFF to anything, then
 * only to 0x0000). Does not read back. False: the range is wrong or the part refused.
 */
bool sl_hal_flash_program(uint32_t address, const void *from, uint32_t size);

/* ---- watchdog, reset, identity ----------------------------------------------------------------------------------- */

/** Starts the watchdog, or only feeds it when it runs (most cannot be stopped, nor changed). False: there is none. */
bool sl_hal_watchdog_start(uint32_t timeout_ms);
void sl_hal_watchdog_feed(void);

/** Resets the whole chip. */
_Noreturn void sl_hal_reset(void);

typedef enum {
  SL_RESET_UNKNOWN = 0,
  SL_RESET_POWER = 1,
  SL_RESET_PIN = 2,
  SL_RESET_SOFTWARE = 3,
  SL_RESET_WATCHDOG = 4,
  SL_RESET_LOCKUP = 5
} sl_reset_reason;

/** Why this boot happened; the same answer whenever asked. */
sl_reset_reason sl_hal_reset_reason(void);

/**
 * Eight words of RAM at the same place in the bootloader and in both slots, left alone by startup code and kept over a
 * reset (not over a power cut). Word 0 is `SL_NOTE_MAGIC` while the rest means anything. What the words mean is the
 * bootloader's (firmware/boot); on a SoC without VTOR word 7 is the application's vector table.
 */
#define SL_NOTE_MAGIC 0x534C4E31u
#define SL_NOTE_WORDS 8
#define SL_NOTE_VECTORS 7
volatile uint32_t *sl_hal_note(void);

/** Leaves for the image whose vector table is at `vectors`: interrupts off and cleared, stack and table set. */
_Noreturn void sl_hal_jump(uint32_t vectors);

/** Eight bytes that no other chip of this kind has. */
void sl_hal_unique_id(uint8_t id[8]);

/* ---- hooks for applications -------------------------------------------------------------------------------------- */

typedef enum { SL_PIN_INPUT, SL_PIN_INPUT_PULL_UP, SL_PIN_INPUT_PULL_DOWN, SL_PIN_OUTPUT } sl_pin_mode;

/** False: the SoC has no such pin, or not in this mode. */
bool sl_hal_pin_mode(uint8_t pin, sl_pin_mode mode);
void sl_hal_pin_write(uint8_t pin, bool high);
bool sl_hal_pin_read(uint8_t pin);

/** One conversion, 0 to 65535 over the full scale whatever the converter's bits. False: no such channel. */
bool sl_hal_adc_read(uint8_t channel, uint16_t *share);

/**
 * Writes `out_size` bytes to the 7-bit `address` and, with `in_size` > 0, reads after a repeated start. False: nobody
 * acknowledged, or the bus hangs; it is released in any case.
 */
bool sl_hal_i2c_transfer(uint8_t bus, uint8_t address, const uint8_t *out, size_t out_size, uint8_t *in, size_t in_size);

#endif
