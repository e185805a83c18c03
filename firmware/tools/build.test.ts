import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { buildHundred, lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { boardNames, boardOf, firmwareRoot, loadBoard } from './board.ts'
import { buildFirmware } from './build.ts'
import { vectorMove } from './no-vtor.ts'
import { stackUse } from './stack.ts'
import { addStage2Checksum, crc32Mpeg } from './stage2.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-build-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const out = (name: string) => join(folder, name)
const digest = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')

function program(name: string, body: string): string {
  const file = join(folder, `${name}.c`)
  writeFileSync(file, body)
  return file
}

describe('boards', () => {
  it('are all valid, and found by their aliases', () => {
    for (const name of boardNames()) expect(loadBoard(name).name).toBe(name)
    expect(loadBoard('nrf51').name).toBe('microbit')
  })

  it('that nobody knows are named beside those there are', () => {
    expect(() => loadBoard('esp32')).toThrow(expect.objectContaining({ code: 'SLUICE_FW_BOARD_UNKNOWN' }))
    expect(() => loadBoard('esp32')).toThrow(expect.objectContaining({ hint: expect.stringContaining('rp2040') }))
  })

  it.each([
    ['size: 16K }\nlayout', 'size: 16K }\nlayoot', 'layout'],
    ['size: 112K }\n  slotB', 'size: 113K }\n  slotB', 'layout.slotA'],
    ['at: 136K, size: 112K', 'at: 152K, size: 96K', 'layout.slotB'],
    ['at: 248K', 'at: 252K', 'layout.settings'],
    ['page: 1K', 'page: 1000', 'memory.flash.page'],
    ['soc: nrf51', 'soc: nrf99', 'soc'],
    ['size: 24K', 'size: many', 'layout.boot.size'],
  ])('whose file has %j as %j are refused at %s', (from, to, field) => {
    const good = readFileSync(join(firmwareRoot, 'boards', 'microbit.yaml'), 'utf8')
    expect(() => boardOf('microbit', good.replace(from, to), 'microbit.yaml')).toThrow(
      expect.objectContaining({ code: 'SLUICE_FW_BOARD_INVALID', field }),
    )
  })
})

describe('the checks of an image', () => {
  it('find a store to the vector table register', () => {
    const code = '00000100 <start>:\n 100:\tldr r3, [pc, #4]\n 102:\tstr r0, [r3, #8]\n 108:\t.word\t0xe000ed00\n'
    expect(vectorMove(code)).toBe('start')
    expect(vectorMove(code.replace('#8]', '#12]'))).toBeUndefined()
    expect(vectorMove('00000100 <move>:\n 108:\t.word\t0xe000ed08\n')).toBe('move')
  })

  it('bound the stack over calls by name and through pointers, and refuse recursion', () => {
    const node = (name: string, bytes: number) =>
      `node: { title: "${name}" label: "${name}\\nf.c:1:1\\n${bytes} bytes (static)" }\n`
    const edge = (from: string, to: string) => `edge: { sourcename: "${from}" targetname: "${to}" }\n`
    const graph =
      node('main', 8) +
      node('work', 100) +
      node('hook', 300) +
      node('sl_isr_x', 24) +
      edge('main', 'work') +
      edge('main', '__indirect_call')
    const roots = { main: 'main', interrupts: /^sl_isr_/ }
    expect(stackUse([graph], roots)).toMatchObject({ bytes: 8 + 300 + 24 + 36, path: ['main', 'hook'] })
    expect(() => stackUse([graph + edge('work', 'main')], roots)).toThrow(
      expect.objectContaining({ code: 'SLUICE_FW_STACK_UNBOUNDED' }),
    )
  })

  it('know the check sum of the RP2040 boot ROM', () => {
    expect(crc32Mpeg(Buffer.from('123456789'))).toBe(0x0376e6e7)
    const image = addStage2Checksum(new Uint8Array(256))
    expect(new DataView(image.buffer).getUint32(252, true)).toBe(crc32Mpeg(new Uint8Array(252)))
  })
})

describe.skipIf(lacks('arm-none-eabi-gcc', 'cc'))('a build', { timeout: 60_000 }, () => {
  it('of 100 registers keeps the budgets on every board', async () => {
    for (const board of ['microbit', 'rp2040', 'mps2-an385', 'stm32vldiscovery', 'netduinoplus2']) {
      const budget = { flashBytes: 24 * 1024, ramBytes: 4096 }
      const { sizes } = await buildHundred(board, out(board), {}, { budget })
      expect(sizes.flashBytes).toBeGreaterThan(8000)
      expect(sizes.stackBytes).toBeGreaterThan(100)
      expect(sizes.ramBytes).toBe(sizes.dataBytes + sizes.zeroBytes + sizes.stackBytes)
    }
  })

  it('gives the same bytes wherever it lies, and compiles only what changed', async () => {
    const copied = (name: string) => {
      const file = join(folder, name, 'hundred.c')
      cpSync(join(firmwareRoot, 'testing', 'hundred.c'), file)
      return { board: 'microbit', sources: [file], outDir: out(`${name}-out`), cacheDir: out(`${name}-cache`) }
    }
    const first = await buildFirmware(copied('here'))
    const again = copied('a/longer/way/off')
    const second = await buildFirmware(again)
    expect(digest(second.bin)).toBe(digest(first.bin))
    expect(digest(second.elf)).toBe(digest(first.elf))
    expect((await buildFirmware(again)).compiled).toBe(0)
    const third = await buildFirmware({ ...copied('elsewhere'), cacheDir: again.cacheDir })
    expect(third.compiled).toBe(0)
    expect(digest(third.elf)).toBe(digest(first.elf))
    const source = again.sources[0]!
    writeFileSync(source, `${readFileSync(source, 'utf8')}\n/* changed */\n`)
    expect((await buildFirmware(again)).compiled).toBe(1)
  })

  it('for a slot starts behind the header of its image', async () => {
    const a = await buildHundred('microbit', out('slot-a'), {}, { image: 'slotA' })
    const b = await buildHundred('microbit', out('slot-b'), {}, { image: 'slotB' })
    const reset = (file: string) => readFileSync(file).readUInt32LE(4)
    expect(a.address).toBe(24 * 1024 + 0x200)
    expect(reset(a.bin)).toBeGreaterThan(a.address)
    expect(reset(b.bin) - reset(a.bin)).toBe(112 * 1024)
  })

  it('over its budget fails and says what is large', async () => {
    await expect(buildHundred('microbit', out('tight'), {}, { budget: { flashBytes: 4096 } })).rejects.toMatchObject({
      code: 'SLUICE_FW_OVER_BUDGET',
      hint: expect.stringContaining('holdings'),
    })
    await expect(buildHundred('microbit', out('shallow'), {}, { stackBytes: 64 })).rejects.toMatchObject({
      code: 'SLUICE_FW_OVER_BUDGET',
    })
  })

  it('too large for the board fails with how much', async () => {
    const source = program(
      'huge',
      'static volatile unsigned char big[20000];\nint main(void) { big[1] = 1; return big[2]; }\n',
    )
    await expect(
      buildFirmware({ board: 'microbit', sources: [source], outDir: out('huge'), bare: true }),
    ).rejects.toMatchObject({
      code: 'SLUICE_FW_OVER_BUDGET',
      message: expect.stringMatching(/bytes too many for the RAM/),
    })
  })

  it('that moves the vectors of a processor that cannot is refused', async () => {
    const source = program('vtor', 'int main(void) { *(volatile unsigned *)0xE000ED08u = 0x6200u; return 0; }\n')
    const options = { sources: [source], bare: true }
    await expect(buildFirmware({ ...options, board: 'microbit', outDir: out('vtor') })).rejects.toMatchObject({
      code: 'SLUICE_FW_MOVES_VECTORS',
      message: expect.stringContaining('main'),
    })
    await buildFirmware({ ...options, board: 'mps2-an385', outDir: out('vtor-m3') })
  })

  it('with a mistake gives the words of the compiler', async () => {
    const source = program('wrong', 'int main(void) { return nothing; }\n')
    await expect(
      buildFirmware({ board: 'microbit', sources: [source], outDir: out('wrong'), bare: true }),
    ).rejects.toMatchObject({ code: 'SLUICE_FW_TOOL_FAILED', message: expect.stringContaining("'nothing' undeclared") })
  })

  it('without a compiler names the package', async () => {
    vi.stubEnv('PATH', '/nowhere')
    try {
      await expect(buildHundred('microbit', out('none'))).rejects.toMatchObject({
        code: 'SLUICE_FW_TOOLCHAIN_MISSING',
        hint: expect.stringContaining('apt-get install gcc-arm-none-eabi'),
      })
    } finally {
      vi.unstubAllEnvs()
    }
  })
})
