import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openPtyPair } from '../../../hil/pty.ts'
import { Stm32LoaderModel, type Stm32ModelOptions } from '../../../hil/stm32-loader.ts'
import { Stm32Loader } from './stm32-uart.ts'

const BASE = 0x0800_0000
const stm32flash = spawnSync('stm32flash', ['-h']).error === undefined
if (!stm32flash && process.env['CI'] === 'true') throw new Error('apt-get install stm32flash')

function part(options: Stm32ModelOptions = {}) {
  let listener: (chunk: Uint8Array) => void = () => {}
  const model = new Stm32LoaderModel((bytes) => queueMicrotask(() => listener(bytes)), options)
  const line = {
    write: (bytes: Uint8Array) => model.feed(bytes),
    onData: (heard: (chunk: Uint8Array) => void) => {
      listener = heard
      return () => {}
    },
  }
  const loader = new Stm32Loader(line, { timeoutMs: 50 })
  return { model, loader }
}

describe('the STM32 loader on a UART', () => {
  it.each([false, true])('erases, writes, reads back and starts (extended erase: %s)', async (extendedErase) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 3000 }), async (bytes) => {
        const { model, loader } = part({ extendedErase })
        model.flash.fill(0)
        expect(await loader.open()).toEqual({ productId: 0x410, loader: 0x22 })
        await loader.eraseAll()
        await loader.write(BASE, bytes)
        expect(Buffer.from(await loader.read(BASE, bytes.length)).equals(bytes)).toBe(true)
        await loader.go(BASE)
        expect(model.started).toBe(BASE)
      }),
      { numRuns: 25 },
    )
  })

  it('erases single pages and leaves the others alone', async () => {
    const { model, loader } = part()
    await loader.open()
    model.flash.fill(0)
    await loader.erasePages([1, 3])
    expect([0, 1024, 2048, 3072].map((at) => model.flash[at])).toEqual([0, 0xff, 0, 0xff])
  })

  it('meets a loader again that was spoken to before, by somebody who went away', async () => {
    const { model, loader } = part()
    await loader.open()
    expect(await loader.open()).toEqual({ productId: 0x410, loader: 0x22 })
    model.flash.fill(0)
    await loader.erasePages([0])
    expect(model.flash[0]).toBe(0xff)
  })

  it('says so when the flash is protected, and when nobody is there', async () => {
    const { model, loader } = part()
    await loader.open()
    model.protected = true
    await expect(loader.write(BASE, new Uint8Array(8))).rejects.toMatchObject({ code: 'SLUICE_FW_STM32_REFUSED' })
    const deaf = new Stm32Loader({ write: () => {}, onData: () => () => {} }, { timeoutMs: 10 })
    await expect(deaf.open()).rejects.toMatchObject({ code: 'SLUICE_FW_STM32' })
  })

  it.skipIf(!stm32flash)(
    'the device model is one for stm32flash, too',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-stm32-'))
      const pty = openPtyPair()
      try {
        const model = new Stm32LoaderModel((bytes) => void pty.write(bytes))
        pty.onData((chunk) => model.feed(chunk))
        const image = Uint8Array.from({ length: 3000 }, (_, index) => (index * 37) & 0xff)
        writeFileSync(join(folder, 'image.bin'), image)
        const child = spawn('stm32flash', [
          '-m',
          '8n1',
          '-w',
          join(folder, 'image.bin'),
          '-v',
          '-g',
          '0x08000000',
          pty.path,
        ])
        let said = ''
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
        const [code] = (await once(child, 'close')) as [number]
        expect(said).toContain('Device ID    : 0x0410')
        expect(code).toBe(0)
        expect(Buffer.from(model.flash.subarray(0, 3000)).equals(image)).toBe(true)
        expect(model.started).toBe(BASE)
      } finally {
        await pty[Symbol.asyncDispose]()
        rmSync(folder, { recursive: true, force: true })
      }
    },
    30_000,
  )
})
