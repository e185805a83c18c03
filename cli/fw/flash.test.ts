import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { EspLoaderModel } from '../../hil/esp-loader.ts'
import { openPtyPair } from '../../hil/pty.ts'
import { Stm32LoaderModel } from '../../hil/stm32-loader.ts'
import { runCommand } from '../main.ts'
import { EXIT } from '../verb.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-fw-flash-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function run(argv: readonly string[], env: Record<string, string | undefined> = process.env) {
  let stdout = ''
  let stderr = ''
  const code = await runCommand(argv, {
    stdout: { write: (text) => (stdout += text), columns: 100 },
    stderr: { write: (text) => (stderr += text) },
    env,
    signal: new AbortController().signal,
  })
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  return { code, stderr, events: lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const noise = (size: number) => Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8)) & 0xff)

/** The header of an ESP image for a chip, and noise behind it. */
function espImage(chipId: number, size = 30_000): Uint8Array {
  const bytes = Buffer.from(noise(size))
  bytes.fill(0, 0, 24)
  bytes.set([0xe9, 1], 0)
  bytes.writeUInt16LE(chipId, 12)
  return bytes
}

/** Kernel buffers are small: what did not fit is handed over later, as a UART would. */
function speaker(pty: { write(bytes: Uint8Array): number }): (bytes: Uint8Array) => void {
  let held = Buffer.alloc(0)
  let waiting = false
  const push = (): void => {
    waiting = false
    held = held.subarray(pty.write(held))
    if (held.length === 0 || waiting) return
    waiting = true
    setImmediate(push)
  }
  return (bytes) => {
    held = Buffer.concat([held, bytes])
    if (!waiting) push()
  }
}

describe('sluice fw flash at a serial port', { timeout: 60_000 }, () => {
  it('writes a ready image to an ESP chip: who it is, how far, how fast, done', async () => {
    await using pty = openPtyPair()
    const model = new EspLoaderModel(speaker(pty), { chip: 'ESP32-C3' })
    pty.onData((chunk) => model.feed(chunk))
    const app = espImage(5)
    const argv = ['fw', 'flash', '--runner', 'esp', '--image', `${file('c3.bin', app)}@0x10000`]
    const { code, events, stderr } = await run([...argv, '--port', pty.path, '--json'])
    expect(code, stderr).toBe(EXIT.ok)
    expect(events[0]).toMatchObject({ event: 'target', board: 'ESP32-C3', runner: 'esp', port: pty.path })
    expect(events.at(-2)).toMatchObject({ event: 'progress', doneBytes: app.length, totalBytes: app.length })
    expect(events.at(-1)).toEqual({ event: 'done', runner: 'esp', port: pty.path })
    expect(Buffer.from(model.flash.subarray(0x10000, 0x10000 + app.length)).equals(app)).toBe(true)
  })

  it('refuses an image of another ESP chip, and one that does not say its chip', async () => {
    await using pty = openPtyPair()
    const model = new EspLoaderModel(speaker(pty))
    pty.onData((chunk) => model.feed(chunk))
    const argv = ['fw', 'flash', '--runner', 'esp', '--port', pty.path, '--image']
    const other = await run([...argv, file('s3.bin', espImage(9))])
    expect(other).toMatchObject({ code: EXIT.refused, stderr: expect.stringContaining('SLUICE_FW_FLASH_BOARD') })
    expect(other.stderr).toContain('ESP32-S3')
    const nameless = await run([...argv, file('nameless.bin', noise(1000))])
    expect(nameless).toMatchObject({ code: EXIT.usage, stderr: expect.stringContaining('--board esp32c3') })
    expect(model.flash.every((byte) => byte === 0xff)).toBe(true)
  })

  it('ends with 5 when the chip falls silent half-way, and nothing half-written starts', async () => {
    await using pty = openPtyPair()
    const model = new EspLoaderModel(speaker(pty))
    pty.onData((chunk) => model.feed(chunk))
    const files = [`${file('boot.bin', espImage(0))}@0x1000`, `${file('app.bin', espImage(0))}@0x10000`]
    const argv = ['fw', 'flash', '--runner', 'esp', '--port', pty.path, ...files.flatMap((each) => ['--image', each])]
    model.mutedAfterWrites = 1
    const { code, stderr } = await run(argv)
    expect(code, stderr).toBe(EXIT.cardFailed)
    expect(model.flash.subarray(0x1000, 0x2000).every((byte) => byte === 0xff)).toBe(true)
  })

  it('writes ready files to an STM32, and refuses another chip than the board has', async () => {
    await using pty = openPtyPair()
    const model = new Stm32LoaderModel(speaker(pty), { productId: 0x420, flashBytes: 128 * 1024 })
    pty.onData((chunk) => model.feed(chunk))
    const image = noise(5000)
    const given = ['--image', `${file('f1.bin', image)}@0x08000000`, '--port', pty.path, '--runner', 'stm32']
    const other = await run(['fw', 'flash', ...given, '--board', 'netduinoplus2'])
    expect(other).toMatchObject({ code: EXIT.refused, stderr: expect.stringContaining('chip 0x420') })
    const { code, events, stderr } = await run(['fw', 'flash', ...given, '--board', 'stm32vldiscovery', '--json'])
    expect(code, stderr).toBe(EXIT.ok)
    expect(events[0]).toMatchObject({ chipId: 0x420, chip: expect.stringContaining('STM32F100') })
    expect(Buffer.from(model.flash.subarray(0, image.length)).equals(image)).toBe(true)
    expect(model.started).toBe(0x0800_0000)
  })

  it('says that nobody is there, and which port to name', async () => {
    const argv = ['fw', 'flash', '--image', `${file('x.bin', noise(10))}@0`, '--board', 'rp2040', '--runner', 'stm32']
    const missing = await run([...argv, '--port', join(folder, 'no-port')])
    expect(missing).toMatchObject({ code: EXIT.unreachable, stderr: expect.stringContaining('cannot be opened') })
  })

  it('copies a UF2 file to the drive of the right kind of board', async () => {
    const drive = join(folder, 'drive')
    mkdirSync(drive)
    writeFileSync(
      join(drive, 'INFO_UF2.TXT'),
      'UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n',
    )
    const given = ['--image', `${file('uf2.bin', noise(900))}@0x10000000`, '--port', drive]
    const { code, stderr } = await run(['fw', 'flash', ...given, '--board', 'rp2040'])
    expect(code, stderr).toBe(EXIT.ok)
    const other = await run(['fw', 'flash', ...given, '--board', 'microbit'])
    expect(other).toMatchObject({ code: EXIT.refused, stderr: expect.stringContaining('rp2040') })
  })
})

describe('sluice fw flash with a program of others', () => {
  /** A program that says what the real one says, and ends as it does. */
  const withTool = (name: string, script: string) => {
    const bin = join(folder, `bin-${name}`)
    mkdirSync(bin, { recursive: true })
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
    return { ...process.env, PATH: `${bin}:/usr/bin:/bin` }
  }
  const given = () => ['--image', `${file('tool.bin', noise(100))}@0x08000000`, '--board', 'netduinoplus2']

  it('passes on its percentages, and gives it arguments that no shell reads', async () => {
    const env = withTool('dfu-util', 'echo "$@" >&2; printf "Download\\t[====     ]  40%% 40 bytes\\n"; exit 0')
    const { code, events, stderr } = await run(['fw', 'flash', ...given(), '--runner', 'dfu', '--json'], env)
    expect(code, stderr).toBe(EXIT.ok)
    expect(events).toMatchObject([
      { event: 'progress', percent: 40 },
      { event: 'done', runner: 'dfu' },
    ])
    expect(stderr).toContain('--dfuse-address 0x8000000:leave --download /')
  })

  it.each([
    ['dfu-util', 'dfu', 'echo "dfu-util: No DFU capable USB device available" >&2; exit 74', EXIT.unreachable],
    ['dfu-util', 'dfu', 'echo "Cannot open DFU device 0483:df11 (LIBUSB_ERROR_ACCESS)" >&2; exit 74', EXIT.refused],
    ['openocd', 'openocd', 'echo "** Verify Failed **" >&2; exit 1', EXIT.cardDiffers],
    ['openocd', 'openocd', 'echo "Error: open failed" >&2; exit 1', EXIT.unreachable],
    ['openocd', 'openocd', 'exit 9', EXIT.failure],
  ])('takes the words of %s (%s) for what they mean: %s', async (name, runner, script, wanted) => {
    const argv = ['fw', 'flash', ...given(), '--runner', runner, '--config', 'x.cfg']
    const { code, stderr } = await run(argv, withTool(name, script))
    expect(code, stderr).toBe(wanted)
  })

  it('names the package when it is not installed', async () => {
    const { code, stderr } = await run(['fw', 'flash', ...given(), '--runner', 'dfu'], { PATH: '/nowhere' })
    expect(code).toBe(EXIT.missing)
    expect(stderr).toContain('apt-get install dfu-util')
  })
})
