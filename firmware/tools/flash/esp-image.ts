import type { FlashRegion } from './uf2.ts'

/**
 * What the files of Espressif's tools say of themselves ("Firmware Image Format" and "Partition Tables" of ESP-IDF's
 * documentation): for which chip an image is, and which application a flash holds.
 */

const IMAGE_MAGIC = 0xe9
const SEGMENTS_MAX = 16
/** Where an image may begin in what is written to the start of a flash: bootloaders, and the usual first application. */
const BEGINNINGS = [0x0, 0x1000, 0x2000, 0x10000]

/** Chip ids of an image's extended header. */
const CHIPS: ReadonlyMap<number, string> = new Map([
  [0, 'ESP32'],
  [2, 'ESP32-S2'],
  [5, 'ESP32-C3'],
  [9, 'ESP32-S3'],
  [12, 'ESP32-C2'],
  [13, 'ESP32-C6'],
  [16, 'ESP32-H2'],
  [18, 'ESP32-P4'],
  [20, 'ESP32-C61'],
  [23, 'ESP32-C5'],
])

const plain = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9]/g, '')

/** The chip's own name for however somebody writes it: `esp32c3`, `ESP32-C3`. Undefined for one that is not known. */
export const espChipNamed = (name: string): string | undefined =>
  [...CHIPS.values(), 'ESP8266'].find((chip) => plain(chip) === plain(name))

/** The chip that bytes with an image at their beginning are for; undefined when none is there. */
function chipAt(bytes: Buffer): string | undefined {
  const segments = bytes[1] ?? 0
  if (bytes.length < 24 || bytes[0] !== IMAGE_MAGIC || segments === 0 || segments > SEGMENTS_MAX) return undefined
  const first = bytes.readUInt32LE(8)
  // The header of the ESP8266 has no chip id: behind its 8 bytes the first segment begins, with an address of its RAM.
  const early = (first >= 0x40100000 && first < 0x40280000) || (first >= 0x3ffe8000 && first < 0x40000000)
  return early ? 'ESP8266' : CHIPS.get(bytes.readUInt16LE(12))
}

/** Every chip that the images in these regions are for, without repetition. */
export function chipsOf(regions: readonly FlashRegion[]): readonly string[] {
  const found = regions.flatMap(({ address, bytes }) => {
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const places = new Set([0, ...BEGINNINGS.map((at) => at - address).filter((at) => at > 0)])
    return [...places].map((at) => chipAt(whole.subarray(at)))
  })
  return [...new Set(found.filter((chip) => chip !== undefined))]
}

/** Where ESP-IDF has the partition table unless somebody moved it, and its size. */
export const PARTITION_TABLE = { address: 0x8000, size: 0xc00 } as const
const ENTRY_BYTES = 32
/** Where the description of an application stands, counted from the begin of its partition. */
export const DESCRIPTION = { offset: 0x20, size: 0x50 } as const

export interface EspApplicationPlace {
  readonly label: string
  readonly address: number
}

const text = (bytes: Buffer): string => {
  const end = bytes.indexOf(0)
  return bytes
    .subarray(0, end < 0 ? bytes.length : end)
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, '?')
}

/** Partitions with applications, as the table in the flash has them. */
export function applicationPlaces(table: Uint8Array): readonly EspApplicationPlace[] {
  const bytes = Buffer.from(table.buffer, table.byteOffset, table.byteLength)
  const places: EspApplicationPlace[] = []
  for (let at = 0; at + ENTRY_BYTES <= bytes.length && bytes.readUInt16LE(at) === 0x50aa; at += ENTRY_BYTES) {
    if (bytes[at + 2] === 0)
      places.push({ label: text(bytes.subarray(at + 12, at + 28)), address: bytes.readUInt32LE(at + 4) })
  }
  return places
}

/** Name and version of an application from its description; undefined when there is none. */
export function applicationOf(description: Uint8Array): string | undefined {
  const bytes = Buffer.from(description.buffer, description.byteOffset, description.byteLength)
  if (bytes.length < DESCRIPTION.size || bytes.readUInt32LE(0) !== 0xabcd5432) return undefined
  return `${text(bytes.subarray(48, 80))} ${text(bytes.subarray(16, 48))}`.trim()
}
