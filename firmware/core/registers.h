/**
 * The register map: what the generator emits from a device model, as constant tables in flash. README.md has an example.
 *
 * Each of the four tables is sorted by address and has no overlaps. What is not in it does not exist: exception 2.
 */
#ifndef SL_REGISTERS_H
#define SL_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Also the Modbus exception code of each (application protocol V1.1b3, section 7). */
typedef enum {
  SL_OK = 0,
  SL_NO_FUNCTION = 1,
  SL_NO_ADDRESS = 2,
  SL_BAD_VALUE = 3,
  SL_FAILED = 4,
  SL_BUSY = 6
} sl_result;

/** The C type of a value in memory; on the wire it takes size / 2 registers, a bool one bit or one register (0 or 1). */
typedef enum {
  SL_BOOL, /* bool */
  SL_U16,
  SL_I16,
  SL_U32,
  SL_I32,
  SL_F32, /* float */
  SL_U64,
  SL_I64,
  SL_F64,  /* double */
  SL_BYTES /* 2 * count bytes, the first in the high half of the first register */
} sl_type;

/** The model's word orders: big 0, big-swap LOW_WORD, little LOW_WORD and LOW_BYTE, little-swap LOW_BYTE. */
#define SL_WRITABLE 0x01u
#define SL_LOW_WORD_FIRST 0x02u
#define SL_LOW_BYTE_FIRST 0x04u

typedef struct {
  uint16_t address; /* the first register or bit, from 0 */
  uint8_t type;     /* sl_type */
  uint8_t flags;    /* SL_WRITABLE and the order */
  uint16_t count;   /* registers or bits it takes */
  uint16_t property; /* the property's number in the model, for whoever wants to know what this is */
  /** The value in memory, of the C type. May be NULL when both hooks are there that are needed. */
  void *value;
  /** Two values of the C type, the least and the greatest that may be written; NULL: no limits. Not for bool and bytes. */
  const void *limits;
  /** Fetches the value before it is sent: puts it into what it is given. NULL: `value` is taken as it is. */
  sl_result (*read)(void *value);
  /** Takes a value that was written and is within its limits. NULL: it is stored in `value`. */
  sl_result (*write)(const void *value);
} sl_register;

typedef enum { SL_COILS, SL_DISCRETES, SL_HOLDINGS, SL_INPUTS, SL_TABLES } sl_table;

typedef struct {
  const sl_register *entries;
  uint16_t count;
} sl_register_table;

typedef struct {
  sl_register_table tables[SL_TABLES];
  /** Input registers from `system_address` on that every board has (system.h); NULL: none. */
  uint16_t (*system)(uint16_t index);
  uint16_t system_address;
  uint16_t system_count;
} sl_register_map;

/** Reads `count` registers into 2 * count bytes as they go on the wire. Holdings and inputs only. */
sl_result sl_registers_read(const sl_register_map *map, sl_table table, uint16_t address, uint16_t count, uint8_t *out);

/**
 * Writes holding registers. Everything is checked before anything is written: a value is written as a whole or not at
 * all. Only a hook that refuses can leave the values before it written.
 */
sl_result sl_registers_write(const sl_register_map *map, uint16_t address, uint16_t count, const uint8_t *in);

/** The same for coils and discretes, eight to a byte, the first in bit 0. `out` must be zeroed. */
sl_result sl_bits_read(const sl_register_map *map, sl_table table, uint16_t address, uint16_t count, uint8_t *out);
sl_result sl_bits_write(const sl_register_map *map, uint16_t address, uint16_t count, const uint8_t *in);

#endif
