import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Stm32LoaderModel } from '../../../hil/stm32-loader.ts'
import { refuseOther } from './runner.ts'
import { stm32Runner, toolArguments, uf2Runner } from './runners.ts'
import { decodeUf2 } from './uf2.ts'

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
      await expect(other).rejects.toMatchObject({ code: 'SLUICE_FW_FLASH_TARGET' })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('leave an STM32 without a vector table when they are cut off, whole and started when not', async () => {
    let listener: (chunk: Uint8Array) => void = () => {}
    const model = new Stm32LoaderModel((bytes) => queueMicrotask(() => listener(bytes)))
    const line = {
      write: (bytes: Uint8Array) => model.feed(bytes),
      onData: (heard: (chunk: Uint8Array) => void) => {
        listener = heard
        return () => {}
      },
      async [Symbol.asyncDispose]() {},
    }
    const bytes = Uint8Array.from({ length: 2000 }, (_, at) => (at * 7) & 0xff)
    const firmware = { board: 'stm32f1', regions: [{ address: 0x08000000, bytes }], images: [] }
    await using runner = stm32Runner(line, 1024)
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

  it('give foreign programs arguments and no shell line', () => {
    expect(toolArguments('dfu-util', '/a b/c.bin', 0x8000000)).toContain('/a b/c.bin')
    expect(toolArguments('openocd', '/a b/c.bin', 0x8000000, 'x.cfg').slice(0, 2)).toEqual(['-f', 'x.cfg'])
    expect(() => refuseOther({ board: 'a', chip: 'x' }, 'b')).toThrow('this is a a')
  })
})
