import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EspLoaderModel, type EspModelOptions } from '../../../hil/esp-loader.ts'
import { applicationOf, applicationPlaces, chipsOf, espChipNamed } from './esp-image.ts'
import { type EspLine, espRunner } from './esp-runner.ts'
import type { FlashProgress } from './runner.ts'

const signal = AbortSignal.timeout(60_000)
const silent = () => undefined

/** An ESP image as far as anybody looks at it: header with the chip, application's description, noise. */
function image(chipId: number, size: number, version = '1.4.0'): Uint8Array {
  const bytes = Buffer.alloc(size, 0)
  // Noise that packs badly, so that every way through the blocks is taken.
  let state = createHash('sha256').update(version).digest()
  for (let at = 0; at < size; at += state.copy(bytes, at)) state = createHash('sha256').update(state).digest()
  bytes.set([0xe9, 3, 2, 0x20], 0)
  bytes.writeUInt32LE(0x40080400, 4)
  bytes.fill(0, 8, 24)
  bytes.writeUInt8(0xee, 8)
  bytes.writeUInt16LE(chipId, 12)
  bytes.writeUInt32LE(0xabcd5432, 0x20)
  bytes.fill(0, 0x30, 0x70)
  bytes.write(version, 0x30, 'latin1')
  bytes.write('blink', 0x50, 'latin1')
  return bytes
}

function partitionTable(): Uint8Array {
  const table = Buffer.alloc(0xc00, 0xff)
  const entry = (at: number, type: number, address: number, label: string) => {
    table.fill(0, at, at + 32)
    table.set([0xaa, 0x50, type, 0], at)
    table.writeUInt32LE(address, at + 4)
    table.write(label, at + 12, 'latin1')
  }
  entry(0, 1, 0x9000, 'nvs')
  entry(32, 0, 0x10000, 'factory')
  return table
}

function chip(options: EspModelOptions & { readonly wires?: boolean } = {}) {
  let listener: (chunk: Uint8Array) => void = silent
  const model = new EspLoaderModel((bytes) => queueMicrotask(() => listener(bytes)), options)
  const line: EspLine = {
    write: (bytes) => model.feed(bytes),
    onData: (heard) => {
      listener = heard
      return () => {
        listener = silent
      }
    },
    setLines: async (lines) => {
      if (options.wires === false) throw new Error('no such wire')
      model.setLines(lines)
    },
    setBaud: async () => undefined,
    async [Symbol.asyncDispose]() {},
  }
  return { model, line }
}

describe('an ESP chip', { timeout: 60_000 }, () => {
  it.each(['ESP32', 'ESP32-C3', 'ESP8266'] as const)(
    'is reset into its loader, named, written, compared by MD5 and started: %s',
    async (kind) => {
      const { model, line } = chip({ chip: kind, waiting: false })
      await using runner = espRunner(line)
      const target = await runner.identify(signal)
      expect(target.board).toBe(kind)
      expect(target.chip).toContain('4MB flash')
      const app = image(kind === 'ESP32-C3' ? 5 : 0, 50_001)
      const table = partitionTable()
      const seen: FlashProgress[] = []
      const regions = [
        { address: 0x8000, bytes: table },
        { address: 0x10000, bytes: app },
      ]
      const started = model.starts
      await runner.flash({ board: kind, regions, images: [] }, { signal, onProgress: (each) => seen.push(each) })
      expect(Buffer.from(model.flash.subarray(0x10000, 0x10000 + app.length)).equals(app)).toBe(true)
      expect(Buffer.from(model.flash.subarray(0x8000, 0x8000 + table.length)).equals(table)).toBe(true)
      expect(model.baud).toBe(460_800)
      expect(model.starts).toBe(started + 1)
      expect(model.runs).toBe('application')
      const written = seen.map(({ writtenBytes }) => writtenBytes)
      expect(written).toEqual([...written].sort((a, b) => a - b))
      expect(seen.at(-1)).toMatchObject({
        writtenBytes: app.length + table.length,
        totalBytes: app.length + table.length,
      })
    },
  )

  it('shows the application that is on it', async () => {
    const { model, line } = chip()
    model.flash.set(partitionTable(), 0x8000)
    model.flash.set(image(0, 4096, '2.0.1'), 0x10000)
    await using runner = espRunner(line)
    expect(await runner.identify(signal)).toMatchObject({ board: 'ESP32', running: 'blink 2.0.1 (factory)' })
  })

  it('of another kind is refused before a byte of it is erased', async () => {
    const { model, line } = chip({ chip: 'ESP32-C3' })
    model.flash.fill(0x55)
    await using runner = espRunner(line)
    await runner.identify(signal)
    const regions = [{ address: 0x10000, bytes: image(0, 5000) }]
    const flashed = runner.flash({ board: 'ESP32', regions, images: [] }, { signal, onProgress: silent })
    await expect(flashed).rejects.toMatchObject({
      code: 'SLUICE_FW_FLASH_BOARD',
      message: expect.stringContaining('ESP32-C3'),
    })
    expect(model.flash.every((byte) => byte === 0x55)).toBe(true)
  })

  it('with a flash that does not hold what was written is told', async () => {
    const { model, line } = chip()
    const bytes = image(0, 9000)
    const worn = [...bytes].findIndex((byte, at) => at > 4000 && (byte & 1) === 1)
    model.wornByte = 0x10000 + worn
    await using runner = espRunner(line)
    const flashed = runner.flash(
      { board: 'ESP32', regions: [{ address: 0x10000, bytes }], images: [] },
      { signal, onProgress: silent },
    )
    await expect(flashed).rejects.toMatchObject({ code: 'SLUICE_FW_FLASH_VERIFY' })
  })

  it('with too small a flash is refused before it is written', async () => {
    const { model, line } = chip({ flashBytes: 1024 * 1024 })
    await using runner = espRunner(line)
    const regions = [{ address: 0xff000, bytes: image(0, 9000) }]
    await expect(
      runner.flash({ board: 'ESP32', regions, images: [] }, { signal, onProgress: silent }),
    ).rejects.toMatchObject({ code: 'SLUICE_FW_FLASH_IMAGE' })
    expect(model.flash.every((byte) => byte === 0xff)).toBe(true)
  })

  it('that is not there is missed, with the button to hold when the line cannot reset it', async () => {
    const { model, line } = chip({ waiting: false, wires: false })
    await using runner = espRunner(line)
    await expect(runner.identify(signal)).rejects.toMatchObject({
      code: 'SLUICE_FW_FLASH_TARGET',
      hint: expect.stringContaining('BOOT'),
    })
    expect(model.runs).toBe('application')
  })

  it('cut off in the middle leaves its bootloader blank: nothing half-written is started', async () => {
    const { model, line } = chip()
    await using runner = espRunner(line)
    const stop = new AbortController()
    const regions = [
      { address: 0x1000, bytes: image(0, 20_000) },
      { address: 0x10000, bytes: image(0, 60_000) },
    ]
    const onProgress = ({ writtenBytes }: FlashProgress) => writtenBytes > 20_000 && stop.abort(new Error('pulled'))
    const cut = runner.flash({ board: 'ESP32', regions, images: [] }, { signal: stop.signal, onProgress })
    await expect(cut).rejects.toThrow('pulled')
    await runner[Symbol.asyncDispose]()
    expect(model.flash.subarray(0x1000, 0x2000).every((byte) => byte === 0xff)).toBe(true)
  })
})

describe('ESP images', () => {
  it('say their chip, alone at their address or merged into one file', () => {
    expect(chipsOf([{ address: 0x10000, bytes: image(5, 200) }])).toEqual(['ESP32-C3'])
    const merged = Buffer.alloc(0x11000, 0xff)
    merged.set(image(0, 200), 0x1000)
    merged.set(image(0, 200), 0x10000)
    expect(chipsOf([{ address: 0, bytes: merged }])).toEqual(['ESP32'])
    merged.set(image(9, 200), 0x10000)
    expect(chipsOf([{ address: 0, bytes: merged }])).toEqual(['ESP32', 'ESP32-S3'])
    const early = Buffer.from(image(0, 200))
    early.writeUInt32LE(0x40100000, 8)
    expect(chipsOf([{ address: 0, bytes: early }])).toEqual(['ESP8266'])
    expect(espChipNamed('esp32s3')).toBe('ESP32-S3')
    expect(espChipNamed('rp2040')).toBeUndefined()
  })

  it('and anything else are looked at without falling over', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(0xffff), (bytes, address) => {
        chipsOf([{ address, bytes }])
        applicationPlaces(bytes)
        applicationOf(bytes)
        const named = Uint8Array.from([0xe9, ...bytes])
        chipsOf([{ address: 0, bytes: named }])
      }),
    )
  })
})

describe('the model of the ESP loader', () => {
  it('takes any bytes and answers in whole frames', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }), (packets) => {
        const said: number[] = []
        const model = new EspLoaderModel((bytes) => said.push(...bytes), { flashBytes: 65_536 })
        for (const packet of packets) model.feed(Uint8Array.from([0xc0, 0, ...packet, 0xc0]))
        expect(said.filter((byte) => byte === 0xc0).length % 2).toBe(0)
      }),
    )
  })
})
