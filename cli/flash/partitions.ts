import { SluiceError } from '../../api/errors.ts'
import type { ByteStore } from './byte-store.ts'

/** One entry of an MBR or GPT, in bytes from the start of the image. */
export interface Partition {
  readonly number: number
  readonly startByte: number
  readonly lengthBytes: number
  /** MBR: two hexadecimal digits; GPT: the type's GUID in lower case. */
  readonly type: string
}

const SECTOR = 512
/** No image has more; a chain that goes on is a loop or a lie. */
const MAX_PARTITIONS = 128
const EXTENDED = new Set(['05', '0f', '85'])
const PROTECTIVE = 'ee'
const FAT_TYPES = new Set([
  ...['01', '04', '06', '0b', '0c', '0e', 'ef'],
  'c12a7328-f81f-11d2-ba4b-00a0c93ec93b', // EFI system partition
  'ebd0a0a2-b9e5-4433-87c0-68b6b72699c7', // basic data: what Raspberry Pi and Windows tools give a FAT
])

/** Whether the table says that a FAT is in there; what really is there, the FAT's own header says. */
export const mayHoldFat = ({ type }: Partition): boolean => FAT_TYPES.has(type)

/**
 * The partitions of an image, in the order of the table; extended ones are followed. Entries that reach beyond the
 * image or overlap the table are kept out of nobody's way: they are refused. Throws SLUICE_FLASH_PARTITIONS.
 */
export function readPartitions(image: ByteStore): readonly Partition[] {
  if (image.sizeBytes < 2 * SECTOR) throw broken('it is smaller than a partition table')
  const mbr = image.readAt(0, SECTOR)
  if (mbr.readUInt16LE(510) !== 0xaa55) throw broken('there is no partition table at its beginning')
  const entries = mbrEntries(mbr)
  const found = entries.some(({ type }) => type === PROTECTIVE) ? readGpt(image) : readMbr(image, entries)
  for (const { number, startByte, lengthBytes } of found) {
    if (startByte < SECTOR) throw broken(`partition ${number} lies on top of the table`)
    if (startByte + lengthBytes > image.sizeBytes) throw broken(`partition ${number} ends beyond the end of the image`)
  }
  const ordered = [...found].sort((one, other) => one.startByte - other.startByte)
  ordered.forEach((each, index) => {
    const next = ordered[index + 1]
    if (next !== undefined && each.startByte + each.lengthBytes > next.startByte) {
      throw broken(`partitions ${each.number} and ${next.number} overlap`)
    }
  })
  return found
}

interface Entry {
  readonly type: string
  readonly first: number
  readonly count: number
}

function mbrEntries(sector: Buffer): readonly Entry[] {
  return [0, 1, 2, 3].map((index) => {
    const at = 446 + 16 * index
    const type = sector
      .readUInt8(at + 4)
      .toString(16)
      .padStart(2, '0')
    return { type, first: sector.readUInt32LE(at + 8), count: sector.readUInt32LE(at + 12) }
  })
}

const isUsed = ({ type, count }: Entry): boolean => type !== '00' && count > 0

function readMbr(image: ByteStore, entries: readonly Entry[]): Partition[] {
  const found: Partition[] = []
  for (const [index, entry] of entries.entries()) {
    if (!isUsed(entry)) continue
    if (EXTENDED.has(entry.type)) found.push(...readExtended(image, entry.first, found.length))
    else found.push(partition(index + 1, entry.first, entry.count, entry.type))
  }
  return found
}

/** Each link of the chain has one partition, from itself on, and the next link, from the first one on. */
function readExtended(image: ByteStore, first: number, before: number): Partition[] {
  const found: Partition[] = []
  const seen = new Set<number>()
  for (let link = first; ; ) {
    if (seen.has(link)) throw broken('its extended partition goes in a circle')
    if (seen.size + before > MAX_PARTITIONS) throw broken(`it has more than ${MAX_PARTITIONS} partitions`)
    seen.add(link)
    if ((link + 1) * SECTOR > image.sizeBytes) throw broken('its extended partition leads beyond the end of the image')
    const sector = image.readAt(link * SECTOR, SECTOR)
    if (sector.readUInt16LE(510) !== 0xaa55) throw broken('its extended partition has a broken link')
    const [own, next] = mbrEntries(sector)
    if (own !== undefined && isUsed(own)) {
      found.push(partition(5 + found.length, link + own.first, own.count, own.type))
    }
    if (next === undefined || !isUsed(next)) return found
    link = first + next.first
  }
}

function readGpt(image: ByteStore): Partition[] {
  const header = image.readAt(SECTOR, SECTOR)
  if (header.toString('latin1', 0, 8) !== 'EFI PART') throw broken('its GPT has no header')
  const table = Number(header.readBigUInt64LE(72))
  const count = header.readUInt32LE(80)
  const size = header.readUInt32LE(84)
  if (size < 128 || size > 4096 || size % 8 !== 0 || count > 1024) throw broken('its GPT has an impossible shape')
  if (!Number.isSafeInteger(table * SECTOR) || table < 2 || table * SECTOR + count * size > image.sizeBytes) {
    throw broken('its GPT has the table outside of the image')
  }
  const bytes = image.readAt(table * SECTOR, count * size)
  const found: Partition[] = []
  for (let index = 0; index < count; index++) {
    const entry = bytes.subarray(index * size, (index + 1) * size)
    const type = guid(entry)
    if (type === '00000000-0000-0000-0000-000000000000') continue
    const first = Number(entry.readBigUInt64LE(32))
    const last = Number(entry.readBigUInt64LE(40))
    if (!(last >= first) || !Number.isSafeInteger((last + 1) * SECTOR)) {
      throw broken(`partition ${index + 1} of its GPT ends before it begins`)
    }
    if (found.length === MAX_PARTITIONS) throw broken(`it has more than ${MAX_PARTITIONS} partitions`)
    found.push(partition(index + 1, first, last - first + 1, type))
  }
  return found
}

const partition = (number: number, first: number, count: number, type: string): Partition => ({
  number,
  startByte: first * SECTOR,
  lengthBytes: count * SECTOR,
  type,
})

/** The first three fields are little-endian, the other two are not (UEFI specification, appendix A). */
function guid(entry: Buffer): string {
  const parts = [
    Buffer.from(entry.subarray(0, 4)).reverse(),
    Buffer.from(entry.subarray(4, 6)).reverse(),
    Buffer.from(entry.subarray(6, 8)).reverse(),
    entry.subarray(8, 10),
    entry.subarray(10, 16),
  ]
  return parts.map((part) => part.toString('hex')).join('-')
}

const broken = (what: string): SluiceError =>
  new SluiceError('SLUICE_FLASH_PARTITIONS', `The image cannot be used: ${what}`, {
    hint: 'Download it once more and compare its checksum: --sha256. An ISO or an archive has to be unpacked first.',
  })
