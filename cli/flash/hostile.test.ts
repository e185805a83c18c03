import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { PatchedStore, storeOf } from './byte-store.ts'
import { FatVolume } from './fat.ts'
import { readPartitions } from './partitions.ts'

const SECTOR = 512

/** An empty FAT, laid out by the specification; the smallest there is of its kind. */
function emptyFat(kind: 'fat16' | 'fat32'): Buffer {
  const clusters = kind === 'fat16' ? 4200 : 1200
  const reserved = kind === 'fat16' ? 1 : 32
  const table = Math.ceil(((clusters + 2) * (kind === 'fat16' ? 2 : 4)) / SECTOR)
  const rootSectors = kind === 'fat16' ? 4 : 0
  const total = reserved + 2 * table + rootSectors + clusters
  const bytes = Buffer.alloc(total * SECTOR)
  bytes.writeUInt16LE(SECTOR, 11)
  bytes.writeUInt8(1, 13)
  bytes.writeUInt16LE(reserved, 14)
  bytes.writeUInt8(2, 16)
  bytes.writeUInt16LE((rootSectors * SECTOR) / 32, 17)
  bytes.writeUInt16LE(total, 19)
  if (kind === 'fat16') bytes.writeUInt16LE(table, 22)
  else {
    bytes.writeUInt32LE(table, 36)
    bytes.writeUInt32LE(2, 44)
    bytes.writeUInt16LE(1, 48)
    bytes.writeUInt32LE(0x41615252, SECTOR)
    bytes.writeUInt32LE(0x61417272, SECTOR + 484)
  }
  bytes.writeUInt16LE(0xaa55, 510)
  for (const copy of [0, 1]) {
    const at = (reserved + copy * table) * SECTOR
    if (kind === 'fat16') bytes.writeUInt32LE(0xfffffff8, at)
    else for (const entry of [0, 1, 2]) bytes.writeUInt32LE(0x0fffffff, at + 4 * entry)
  }
  return bytes
}

const volumeIn = (bytes: Buffer) =>
  new FatVolume(new PatchedStore(storeOf(bytes)), { startByte: 0, lengthBytes: bytes.length }, 1_700_000_000_000)

/** Nothing but our own error may come out, whatever the bytes say, and it has to come out soon. */
function onlyOurErrors(run: () => void): void {
  try {
    run()
  } catch (thrown) {
    if (!(thrown instanceof SluiceError)) throw thrown
  }
}

const changes = (max: number) =>
  fc.array(
    fc.tuple(fc.nat(max), fc.oneof(fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }))),
    { maxLength: 24 },
  )

describe.each(['fat16', 'fat32'] as const)('a %s', (kind) => {
  it('gives back what is written, whatever it is called and however often', () => {
    const name = fc.oneof(
      fc.constantFrom('README.TXT', 'user-data', 'firstrun.sh', 'a.b.c', 'ÄÖ.txt', 'x'.repeat(100)),
      fc
        .string({ minLength: 1, maxLength: 40, unit: fc.constantFrom(...'abcXYZ019.-_ ') })
        .filter((text) => /^[^. ].*[^. ]$|^[^. ]$/.test(text)),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.nat(5000), fc.boolean()), { maxLength: 30 }), (files) => {
        const volume = volumeIn(emptyFat(kind))
        const expected = new Map<string, Buffer>()
        for (const [file, size, inFolder] of files) {
          const path = inFolder ? `sluice/${file}` : file
          const content = Buffer.alloc(size, size & 0xff)
          volume.write(path, content)
          expected.set(path.toLowerCase(), content)
        }
        for (const [path, content] of expected) expect(volume.read(path, 10_000)?.equals(content)).toBe(true)
      }),
    )
  })

  it('frees what it replaces, and refuses what does not fit with nothing lost', () => {
    const volume = volumeIn(emptyFat(kind))
    volume.write('keep', Buffer.from('this'))
    const free = volume.freeBytes
    for (let round = 0; round < 50; round++) volume.write('again', Buffer.alloc(100_000))
    volume.write('again', Buffer.alloc(0))
    expect(volume.freeBytes).toBe(free)
    expect(() => volume.write('huge', Buffer.alloc(free + 1))).toThrow(
      expect.objectContaining({ code: 'SLUICE_FLASH_FAT_FULL' }),
    )
    expect(volume.freeBytes).toBe(free)
    expect(volume.read('keep', 10)?.toString()).toBe('this')
  })

  it('that lies is refused or read, never followed into a circle or out of the image', () => {
    const good = emptyFat(kind)
    const volume = new PatchedStore(storeOf(good))
    const filled = new FatVolume(volume, { startByte: 0, lengthBytes: good.length }, 0)
    filled.write('sluice/deep/file', Buffer.alloc(3000, 1))
    filled.write('cmdline.txt', Buffer.from('quiet'))
    const whole = volume.readAt(0, good.length)
    // What decides anything lies in the first 64 KiB: header, tables and the first folders.
    fc.assert(
      fc.property(changes(65_535), (list) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of list) bytes[at] = value
        onlyOurErrors(() => {
          const hurt = volumeIn(bytes)
          hurt.list()
          hurt.read('cmdline.txt', 4096)
          hurt.has('sluice/deep/file')
          hurt.write('sluice/other', Buffer.alloc(2000))
        })
      }),
    )
  })

  it('whose folder is a chain in a circle is refused', () => {
    const bytes = emptyFat(kind)
    const store = new PatchedStore(storeOf(bytes))
    const volume = new FatVolume(store, { startByte: 0, lengthBytes: bytes.length }, 0)
    volume.write('sluice/file', Buffer.alloc(SECTOR * 3, 1))
    const whole = store.readAt(0, bytes.length)
    const reserved = whole.readUInt16LE(14) * SECTOR
    // Every chain leads back to the first cluster of ours.
    for (let cluster = 2; cluster < 10; cluster++) {
      if (kind === 'fat16') whole.writeUInt16LE(3, reserved + 2 * cluster)
      else whole.writeUInt32LE(3, reserved + 4 * cluster)
    }
    expect(() => volumeIn(whole).list('sluice')).toThrow(expect.objectContaining({ code: 'SLUICE_FLASH_FAT' }))
  })
})

describe('a table of partitions', () => {
  const image = (bytes: Buffer, sizeBytes = 64 * 1024 * 1024) => ({
    sizeBytes,
    readAt(offset: number, length: number) {
      if (offset + length > sizeBytes) throw new RangeError('beyond the image')
      const out = Buffer.alloc(length)
      if (offset < bytes.length) bytes.copy(out, 0, offset, Math.min(bytes.length, offset + length))
      return out
    },
  })
  const mbr = (...entries: readonly (readonly [type: number, first: number, count: number])[]): Buffer => {
    const bytes = Buffer.alloc(64 * SECTOR)
    for (const [index, [type, first, count]] of entries.entries()) {
      bytes.writeUInt8(type, 446 + 16 * index + 4)
      bytes.writeUInt32LE(first, 446 + 16 * index + 8)
      bytes.writeUInt32LE(count, 446 + 16 * index + 12)
    }
    bytes.writeUInt16LE(0xaa55, 510)
    return bytes
  }

  it('is read', () => {
    expect(readPartitions(image(mbr([0x0c, 8192, 1000], [0x83, 9192, 1000])))).toEqual([
      { number: 1, startByte: 8192 * SECTOR, lengthBytes: 1000 * SECTOR, type: '0c' },
      { number: 2, startByte: 9192 * SECTOR, lengthBytes: 1000 * SECTOR, type: '83' },
    ])
  })

  it.each([
    ['lies on top of the table', mbr([0x0c, 0, 100])],
    ['ends beyond the end', mbr([0x0c, 8192, 0xffff_ffff])],
    ['overlap', mbr([0x0c, 100, 100], [0x83, 150, 100])],
    ['no partition table', Buffer.alloc(1024)],
    ['no header', mbr([0xee, 1, 100])],
    [
      'circle',
      (() => {
        const bytes = mbr([0x05, 8, 100])
        mbr([0x83, 1, 2], [0x05, 0, 4]).copy(bytes, 8 * SECTOR, 0, SECTOR)
        return bytes
      })(),
    ],
  ])('that %s is refused', (words, bytes) => {
    expect(() => readPartitions(image(bytes))).toThrow(
      expect.objectContaining({ code: 'SLUICE_FLASH_PARTITIONS', message: expect.stringContaining(words) }),
    )
  })

  it('of any bytes is read or refused, as MBR and as GPT', () => {
    const gpt = mbr([0xee, 1, 1000])
    gpt.write('EFI PART', SECTOR, 'latin1')
    gpt.writeBigUInt64LE(2n, SECTOR + 72)
    gpt.writeUInt32LE(4, SECTOR + 80)
    gpt.writeUInt32LE(128, SECTOR + 84)
    for (const base of [mbr([0x05, 8, 1000], [0x0c, 2000, 100]), gpt]) {
      fc.assert(
        fc.property(changes(8 * SECTOR - 1), (list) => {
          const bytes = Buffer.from(base)
          for (const [at, value] of list) bytes[at] = value
          onlyOurErrors(() => void readPartitions(image(bytes)))
        }),
      )
    }
  })
})
