#include "registers.h"

#include "memory.h"

static const uint8_t sizes[] = {[SL_BOOL] = 1, [SL_U16] = 2, [SL_I16] = 2, [SL_U32] = 4, [SL_I32] = 4,
                                [SL_F32] = 4,  [SL_U64] = 8, [SL_I64] = 8, [SL_F64] = 8};

typedef union {
  bool flag;
  uint8_t bytes[8];
  uint16_t u16;
  int16_t i16;
  uint32_t u32;
  int32_t i32;
  float f32;
  uint64_t u64;
  int64_t i64;
  double f64;
} value;

/** The entry that has `address` in it, or NULL. */
static const sl_register *find(const sl_register_table *table, uint16_t address) {
  uint16_t low = 0;
  uint16_t high = table->count;
  while (low < high) {
    const uint16_t middle = (uint16_t)((low + high) / 2u);
    const sl_register *entry = &table->entries[middle];
    if (address < entry->address) {
      high = middle;
    } else if (address - entry->address >= entry->count) {
      low = (uint16_t)(middle + 1u);
    } else {
      return entry;
    }
  }
  return NULL;
}

/** The entry that begins right where this one ends, or NULL. */
static const sl_register *next(const sl_register_table *table, const sl_register *entry) {
  const sl_register *after = entry + 1;
  const bool there = after < table->entries + table->count && after->address == entry->address + entry->count;
  return there ? after : NULL;
}

/** Where byte `at` of what is on the wire lies in a value of `size` bytes in memory, least byte first. */
static uint8_t place(const sl_register *entry, uint8_t size, uint8_t at) {
  const uint8_t word = (entry->flags & SL_LOW_WORD_FIRST) != 0 ? at / 2u : (uint8_t)((size - 1u - at) / 2u);
  const bool low = ((entry->flags & SL_LOW_BYTE_FIRST) != 0) == ((at & 1u) == 0);
  return (uint8_t)(2u * word + (low ? 0u : 1u));
}

static sl_result fetch(const sl_register *entry, value *now) {
  if (entry->read != NULL) return entry->read(entry->type == SL_BYTES ? entry->value : (void *)now);
  if (entry->type != SL_BYTES) memcpy(now, entry->value, sizes[entry->type]);
  return SL_OK;
}

static uint8_t wire_byte(const sl_register *entry, const value *now, uint16_t at) {
  if (entry->type == SL_BYTES) return ((const uint8_t *)entry->value)[at];
  if (entry->type == SL_BOOL) return at == 1 && now->flag ? 1 : 0;
  return now->bytes[place(entry, sizes[entry->type], (uint8_t)at)];
}

static sl_result read_system(const sl_register_map *map, uint16_t index, uint16_t count, uint8_t *out) {
  if (index + count > map->system_count) return SL_NO_ADDRESS;
  for (uint16_t i = 0; i < count; i++) {
    const uint16_t word = map->system((uint16_t)(index + i));
    out[2u * i] = (uint8_t)(word >> 8);
    out[2u * i + 1u] = (uint8_t)word;
  }
  return SL_OK;
}

sl_result sl_registers_read(const sl_register_map *map, sl_table table, uint16_t address, uint16_t count, uint8_t *out) {
  if (table == SL_INPUTS && map->system != NULL && address >= map->system_address) {
    return read_system(map, (uint16_t)(address - map->system_address), count, out);
  }
  const sl_register_table *entries = &map->tables[table];
  const sl_register *entry = find(entries, address);
  uint32_t at = entry == NULL ? 0 : 2u * (uint32_t)(address - entry->address);
  for (uint32_t done = 0; done < 2u * (uint32_t)count; entry = next(entries, entry), at = 0) {
    if (entry == NULL) return SL_NO_ADDRESS;
    value now = {0};
    const sl_result result = fetch(entry, &now);
    if (result != SL_OK) return result;
    for (; at < 2u * (uint32_t)entry->count && done < 2u * (uint32_t)count; at++) {
      out[done++] = wire_byte(entry, &now, (uint16_t)at);
    }
  }
  return SL_OK;
}

static void decode(const sl_register *entry, const uint8_t *in, value *given) {
  if (entry->type == SL_BOOL) {
    given->flag = in[1] != 0;
    return;
  }
  const uint8_t size = sizes[entry->type];
  for (uint8_t at = 0; at < size; at++) given->bytes[place(entry, size, at)] = in[at];
}

#define WITHIN(member, kind) \
  (given->member >= ((const kind *)entry->limits)[0] && given->member <= ((const kind *)entry->limits)[1])

/** A value that is no number is within no limits. */
static bool within_limits(const sl_register *entry, const value *given) {
  if (entry->limits == NULL) return true;
  switch (entry->type) {
    case SL_U16:
      return WITHIN(u16, uint16_t);
    case SL_I16:
      return WITHIN(i16, int16_t);
    case SL_U32:
      return WITHIN(u32, uint32_t);
    case SL_I32:
      return WITHIN(i32, int32_t);
    case SL_F32:
      return WITHIN(f32, float);
    case SL_U64:
      return WITHIN(u64, uint64_t);
    case SL_I64:
      return WITHIN(i64, int64_t);
    case SL_F64:
      return WITHIN(f64, double);
    default:
      return true;
  }
}

static sl_result store(const sl_register *entry, const void *given, size_t size) {
  if (entry->write != NULL) return entry->write(given);
  memcpy(entry->value, given, size);
  return SL_OK;
}

static sl_result check_or_write(const sl_register *entry, const uint8_t *in, bool checking) {
  if (entry->type == SL_BYTES) return checking ? SL_OK : store(entry, in, 2u * (size_t)entry->count);
  value given = {0};
  decode(entry, in, &given);
  if (!checking) return store(entry, &given, sizes[entry->type]);
  if (entry->type == SL_BOOL && (in[0] != 0 || in[1] > 1)) return SL_BAD_VALUE;
  return within_limits(entry, &given) ? SL_OK : SL_BAD_VALUE;
}

sl_result sl_registers_write(const sl_register_map *map, uint16_t address, uint16_t count, const uint8_t *in) {
  const sl_register_table *entries = &map->tables[SL_HOLDINGS];
  const sl_register *first = find(entries, address);
  if (first == NULL || first->address != address) return SL_NO_ADDRESS;
  for (uint8_t turn = 0; turn < 2; turn++) {
    const sl_register *entry = first;
    for (uint32_t done = 0; done < count; entry = next(entries, entry)) {
      if (entry == NULL || (entry->flags & SL_WRITABLE) == 0) return SL_NO_ADDRESS;
      if (done + entry->count > count) return SL_NO_ADDRESS; /* half a value */
      const sl_result result = check_or_write(entry, &in[2u * done], turn == 0);
      if (result != SL_OK) return result;
      done += entry->count;
    }
  }
  return SL_OK;
}

sl_result sl_bits_read(const sl_register_map *map, sl_table table, uint16_t address, uint16_t count, uint8_t *out) {
  const sl_register_table *entries = &map->tables[table];
  const sl_register *entry = find(entries, address);
  for (uint16_t i = 0; i < count; i++, entry = next(entries, entry)) {
    if (entry == NULL) return SL_NO_ADDRESS;
    value now = {0};
    const sl_result result = fetch(entry, &now);
    if (result != SL_OK) return result;
    if (now.flag) out[i / 8u] = (uint8_t)(out[i / 8u] | (1u << (i % 8u)));
  }
  return SL_OK;
}

sl_result sl_bits_write(const sl_register_map *map, uint16_t address, uint16_t count, const uint8_t *in) {
  const sl_register_table *entries = &map->tables[SL_COILS];
  const sl_register *first = find(entries, address);
  for (uint8_t turn = 0; turn < 2; turn++) {
    const sl_register *entry = first;
    for (uint16_t i = 0; i < count; i++, entry = next(entries, entry)) {
      if (entry == NULL || (entry->flags & SL_WRITABLE) == 0) return SL_NO_ADDRESS;
      const bool on = ((uint32_t)in[i / 8u] >> (i % 8u) & 1u) != 0;
      const sl_result result = turn == 0 ? SL_OK : store(entry, &on, sizeof on);
      if (result != SL_OK) return result;
    }
  }
  return SL_OK;
}
