import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { Stm32LoaderModel, type Stm32ModelOptions } from '../../../hil/stm32-loader.ts'
import { loadBoard } from '../board.ts'
import { makeImage, parseVersion } from '../image.ts'
import { signerOf } from '../sign.ts'
import { refuseOther } from './runner.ts'
import { sectorsOf } from './stm32-parts.ts'
import { stm32Runner } from './stm32-runner.ts'
import { decodeUf2 } from './uf2.ts'
import { uf2Runner } from './uf2-runner.ts'

const signal = AbortSignal.timeout(20_000)

describe('runners of fw flash', () => {
  it('write a UF2 file to the drive of a board of the right kind, and refuse another kind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-uf2-'))
    try {
      const runner = uf2Runner(folder)
      await expect(runner.identify(signal)).rejects.toMatchObject({ code: 'SLUICE_FW_FLASH_TARGET' })
      writeFileSync(
        join(folder, 'INFO_UF2.TXT'),
        'UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n',
      )
      expect(await runner.identify(signal)).toEqual({ chip: 'Raspberry Pi RP2', board: 'rp2040' })
      const regions = [{ address: 0x10000000, bytes: Uint8Array.from({ length: 700 }, (_, at) => at & 0xff) }]
      const seen: number[] = []
      const onProgress = ({ writtenBytes }: { writtenBytes: number }) => void seen.push(writtenBytes)
      await runner.flash({ board: 'rp2040', regions, images: [] }, { signal, onProgress })
      expect(decodeUf2(readFileSync(join(folder, 'sluice.uf2')))).toHaveLength(3)
      expect(seen).toEqual([700])
      const other = runner.flash({ board: 'microbit', regions, images: [] }, { signal, onProgress })
      await expect(other).rejects.toMatchObject({ code: 'SLUICE_FW_FLASH_BOARD' })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('leave an STM32 without a vector table when they are cut off, whole and started when not', async () => {
    const { model, line } = stm32()
    const bytes = Uint8Array.from({ length: 2000 }, (_, at) => (at * 7) & 0xff)
    const firmware = { board: 'stm32f1', regions: [{ address: 0x08000000, bytes }], images: [] }
    await using runner = stm32Runner(line)
    await runner.identify(signal)
    const stop = new AbortController()
    const cut = runner.flash(firmware, {
      signal: stop.signal,
      onProgress: ({ writtenBytes }) => writtenBytes > 1000 && stop.abort(new Error('pulled')),
    })
    await expect(cut).rejects.toThrow('pulled')
    expect(model.flash.subarray(0, 256).every((byte) => byte === 0xff)).toBe(true)
    await runner.flash(firmware, { signal, onProgress: () => {} })
    expect(Buffer.from(model.flash.subarray(0, 2000)).equals(bytes)).toBe(true)
    expect(model.started).toBe(0x08000000)
  })

  it('erase the unequal sectors that the firmware lies in, and no other', async () => {
    const K = 1024
    const sectors = [16 * K, 16 * K, 16 * K, 16 * K, 64 * K, 128 * K]
    const { model, line } = stm32({ productId: 0x413, sectors, extendedErase: true, flashBytes: 512 * K })
    model.flash.fill(0)
    const regions = [
      { address: 0x08000000, bytes: new Uint8Array(20_000).fill(0x11) },
      { address: 0x08020000, bytes: new Uint8Array(1000).fill(0x22) },
    ]
    await using runner = stm32Runner(line)
    expect(await runner.identify(signal)).toMatchObject({ chip: expect.stringContaining('STM32F405'), chipId: 0x413 })
    await runner.flash({ board: 'netduinoplus2', chipId: 0x413, regions, images: [] }, { signal, onProgress: () => {} })
    const at = (offset: number) => model.flash[offset]
    expect([0, 19_999, 20_000, 32 * K, 128 * K, 129 * K, 256 * K].map(at)).toEqual([0x11, 0x11, 0xff, 0, 0x22, 0xff, 0])
  })

  it('name the board whose image lies in the flash, and refuse another chip before anything is erased', async () => {
    const { model, line } = stm32({ productId: 0x420, flashBytes: 128 * 1024 })
    const { slotA } = loadBoard('stm32vldiscovery').layout
    const key = generateKeyPairSync('ed25519').privateKey
    const held = await makeImage(
      {
        payload: new Uint8Array(1000),
        version: parseVersion('1.7.0'),
        securityCounter: 1,
        board: 'stm32vldiscovery',
        slotAddress: slotA?.address ?? 0,
      },
      signerOf(key, { production: true }),
    )
    model.flash.set(held, (slotA?.address ?? 0) - 0x08000000)
    const before = Uint8Array.from(model.flash)
    await using runner = stm32Runner(line)
    const target = await runner.identify(signal)
    expect(target).toMatchObject({ chipId: 0x420, holds: 'stm32vldiscovery', running: '1.7.0 in slot A' })
    const regions = [{ address: 0x08000000, bytes: new Uint8Array(10) }]
    const other = { board: 'netduinoplus2', chipId: 0x413, regions, images: [] }
    await expect(runner.flash(other, { signal, onProgress: () => {} })).rejects.toMatchObject({
      code: 'SLUICE_FW_FLASH_BOARD',
    })
    expect(() => refuseOther(target, { board: 'own-board' }, { replace: false })).toThrow(
      'firmware for stm32vldiscovery',
    )
    refuseOther(target, { board: 'own-board' }, { replace: true })
    refuseOther(target, { board: 'stm32vldiscovery', chipId: 0x420 }, { replace: false })
    expect(Buffer.from(model.flash).equals(before)).toBe(true)
  })

  it('want the page size of a part that nobody knows, and say that nobody is there', async () => {
    const { line } = stm32({ productId: 0x7ff })
    await using runner = stm32Runner(line)
    await runner.identify(signal)
    const what = { board: 'x', regions: [{ address: 0x08000000, bytes: new Uint8Array(4) }], images: [] }
    const flashed = runner.flash(what, { signal, onProgress: () => {} })
    await expect(flashed).rejects.toMatchObject({
      code: 'SLUICE_FW_STM32_PART',
      hint: expect.stringContaining('--page-size'),
    })
    const clock = new VirtualClock()
    const deaf = stm32Runner(
      { write: () => {}, onData: () => () => {}, async [Symbol.asyncDispose]() {} },
      undefined,
      clock,
    )
    const asked = deaf.identify(signal)
    asked.catch(() => undefined)
    await clock.advance(3000)
    await expect(asked).rejects.toMatchObject({ code: 'SLUICE_FW_FLASH_TARGET' })
  })

  it('find the sectors of any place', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
        fc.nat(60),
        fc.integer({ min: 1, max: 30 }),
        (sizes, offset, length) => {
          const bounds: number[] = [0]
          while ((bounds.at(-1) ?? 0) <= offset + length)
            bounds.push((bounds.at(-1) ?? 0) + (sizes[Math.min(bounds.length - 1, sizes.length - 1)] ?? 1))
          const wanted = bounds.slice(0, -1).flatMap((from, number) => {
            const to = bounds[number + 1] ?? 0
            return from < offset + length && to > offset ? [number] : []
          })
          expect(sectorsOf(sizes, offset, length)).toEqual(wanted)
        },
      ),
    )
  })
})

function stm32(options: Stm32ModelOptions = {}) {
  let listener: (chunk: Uint8Array) => void = () => {}
  const model = new Stm32LoaderModel((bytes) => queueMicrotask(() => listener(bytes)), options)
  const line = {
    write: (bytes: Uint8Array) => model.feed(bytes),
    onData: (heard: (chunk: Uint8Array) => void) => {
      listener = heard
      return () => {}
    },
    async [Symbol.asyncDispose]() {},
  }
  return { model, line }
}
