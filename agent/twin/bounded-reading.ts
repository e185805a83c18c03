import type { Reading } from '../../mappers/sdk/mapper.ts'

/** A value that would not fit a batch is refused at the source. */
const MAX_VALUE_BYTES = 128 * 1024

/** The reading, or a failed one in its place when its value is too large to be carried. */
export function bounded(reading: Reading): Reading {
  const { value } = reading
  const bytes =
    typeof value === 'string'
      ? value.length
      : typeof value === 'object' && value !== null
        ? JSON.stringify(value).length
        : 0
  if (bytes <= MAX_VALUE_BYTES) return reading
  return {
    device: reading.device,
    property: reading.property,
    atMs: reading.atMs,
    quality: 'bad(value-too-large)',
    reason: `the value has ${bytes} characters, at most ${MAX_VALUE_BYTES} are carried`,
  }
}
