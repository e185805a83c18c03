import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock, type Timer } from '../../api/clock.ts'
import { openSerial } from '../../cli/fw/board-line.ts'
import { runCommand } from '../../cli/main.ts'
import { EXIT } from '../../cli/verb.ts'
import { loadBoard } from '../../firmware/tools/board.ts'
import { buildBootloader } from '../../firmware/tools/bootloader.ts'
import { smpRunner } from '../../firmware/tools/flash/smp-runner.ts'
import { makeImage, parseVersion } from '../../firmware/tools/image.ts'
import { readKeys, readPrivateKey } from '../../firmware/tools/keys.ts'
import { signerOf } from '../../firmware/tools/sign.ts'
import type { BoardRig } from '../../hil/boards/rig.ts'
import { startBoard } from '../../hil/boards/start.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { eventually } from '../harness/until.ts'
import { lacksForeignImages, makeForeignImage } from './foreign-images.ts'

const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)
// What one test compiled the next one does not compile again, in whatever folder its project lies.
process.env['SLUICE_FW_OBJECTS'] ??= cacheDir
const folder = mkdtempSync(join(tmpdir(), 'sluice-fw-flash-'))
const project = join(folder, 'greenhouse')
const keys = join(folder, 'keys')
const other = join(folder, 'other')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Longer than a board that was met takes to say what it holds, and a part of how long the command waits. */
const RESET_AGAIN_MS = 6000

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  /** Every line of the standard output as JSON. */
  readonly events: readonly Record<string, unknown>[]
}

/** Runs the command; `onStderr` and `onStdout` are told of every piece, and may stop it. */
async function run(
  argv: readonly string[],
  watch: { onStderr?: (text: string) => void; onStdout?: (text: string, stop: AbortController) => void } = {},
): Promise<Ran> {
  let stdout = ''
  let stderr = ''
  const stop = new AbortController()
  const code = await runCommand(argv, {
    stdout: {
      write: (text) => {
        stdout += text
        watch.onStdout?.(text, stop)
      },
      columns: 100,
    },
    stderr: {
      write: (text) => {
        stderr += text
        watch.onStderr?.(text)
      },
    },
    env: process.env,
    signal: stop.signal,
  })
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  return { code, stdout, stderr, events: lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('a board at a serial port', { timeout: 180_000 }, () => {
  let rig: BoardRig
  let port = ''
  const version = (text: string) => {
    const file = join(project, 'sluice-fw.yaml')
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^version: .*$/m, `version: ${text}`))
  }
  /**
   * The board is reset when the command says that it waits, as a person would do it, and again when nothing comes of it: a
   * bootloader listens for a tenth of a second, which a busy machine may sleep through.
   */
  const withReset = async (
    argv: readonly string[],
    onStdout: (text: string, stop: AbortController) => void = () => {},
  ): Promise<Ran> => {
    let again: Timer | undefined
    const reset = () => {
      again = systemClock.after(RESET_AGAIN_MS, reset)
      void rig.reset()
    }
    try {
      return await run([...argv, '--port', port, '--json'], {
        onStderr: (text) => text.startsWith('waiting for') && !text.includes('new image') && reset(),
        onStdout: (text, stop) => {
          if (text.includes('"event":"target"')) again?.cancel()
          onStdout(text, stop)
        },
      })
    } finally {
      again?.cancel()
    }
  }
  const answers = () =>
    eventually(
      async () => (await run(['fw', 'monitor', project, '--port', port, '--for', '1s', '--json'])).code === EXIT.ok,
      'values of the board',
      60_000,
    )

  beforeAll(async () => {
    expect(await run(['fw', 'init', project, '--board', 'mps2-an385'])).toMatchObject({ code: EXIT.ok })
    for (const each of [keys, other]) expect(await run(['fw', 'key', 'new', each])).toMatchObject({ code: EXIT.ok })
    const boot = await buildBootloader({
      board: 'mps2-an385',
      keys: [(await readKeys(keys)).current],
      production: true,
      outDir: join(folder, 'boot'),
      cacheDir,
    })
    rig = await startBoard({ build: boot, lines: ['pty'] })
    port = rig.lines[0]?.path ?? ''
  }, 180_000)

  afterAll(async () => await rig?.[Symbol.asyncDispose]())

  it('with nothing but a bootloader says so, and is left as it was', async () => {
    const { code, events } = await withReset(['fw', 'recover', '--list'])
    expect(code).toBe(EXIT.ok)
    expect(events).toMatchObject([{ event: 'target', board: 'mps2-an385', recovery: true, slots: [] }])
  })

  it('gets its first image, and it is confirmed because it answers on its line', async () => {
    const { code, events, stderr } = await withReset(['fw', 'flash', project, '--keys', keys])
    expect(code, stderr).toBe(EXIT.ok)
    expect(events[0]).toMatchObject({ event: 'target', board: 'mps2-an385', runner: 'smp' })
    expect(events.filter(({ event }) => event === 'progress').length).toBeGreaterThan(0)
    expect(events.at(-1)).toMatchObject({ event: 'done', confirmed: '0.1.0' })
    await answers()
    const { events: after } = await withReset(['fw', 'recover', '--list'])
    expect(after).toMatchObject([{ slots: [{ slot: 0, version: '0.1.0', confirmed: true }] }])
  })

  it('goes on with an upload that was interrupted, and meanwhile runs what it ran', async () => {
    version('0.2.0')
    const cut = await withReset(['fw', 'flash', project, '--keys', keys], (text, stop) => {
      const done = Number(/"doneBytes":(\d+)/.exec(text)?.[1] ?? 0)
      if (done > 9000) stop.abort()
    })
    expect(cut.code).toBe(EXIT.interrupted)
    await rig.reset()
    await answers()
    const { code, events, stderr } = await withReset(['fw', 'recover', project, '--keys', keys])
    expect(code, stderr).toBe(EXIT.ok)
    const first = events.find(({ event }) => event === 'progress')
    expect(first?.['doneBytes']).toBeGreaterThan(4096)
    expect(events.at(-1)).toMatchObject({ event: 'done', confirmed: '0.2.0' })
  })

  it('refuses an image of another key, says why, and runs what it ran', async () => {
    version('0.3.0')
    const { code, stderr } = await withReset(['fw', 'flash', project, '--keys', other])
    expect(code).toBe(EXIT.refused)
    expect(stderr).toContain('the board refused to start the new image: key')
    await answers()
    const { events } = await withReset(['fw', 'recover', '--list'])
    expect(events[0]?.['slots']).toMatchObject([
      { version: '0.3.0', refusal: 'key' },
      { version: '0.2.0', confirmed: true },
    ])
  })

  it('of another kind is refused, and told by name', async () => {
    const facts = { payload: new Uint8Array(100), version: parseVersion('1.0.0'), securityCounter: 1 }
    const signer = signerOf(await readPrivateKey(join(keys, 'current.pem')), { production: true })
    const file = join(folder, 'microbit.img')
    writeFileSync(file, await makeImage({ ...facts, board: 'microbit', slotAddress: 0x6000 }, signer))
    const { code, stderr } = await withReset(['fw', 'flash', '--image', file])
    expect(code).toBe(EXIT.refused)
    expect(stderr).toContain('SLUICE_FW_FLASH_BOARD')
    expect(stderr).toContain('mps2-an385')
  })

  it('that goes back because the new image never answers is told with its own exit code', async () => {
    version('0.4.0')
    const file = join(project, 'app', 'app.c')
    const good = readFileSync(file, 'utf8')
    writeFileSync(file, good.replace('void app_loop(void) {}', 'void app_loop(void) { for (;;) continue; }'))
    const { code, stderr } = await withReset(['fw', 'flash', project, '--keys', keys])
    writeFileSync(file, good)
    expect(code, stderr).toBe(EXIT.rolledBack)
    // The watchdog starts it three times, then the old one: nobody touches the board.
    await answers()
  })

  it.skipIf(lacksForeignImages())(
    'takes images that another maker signed, leaves them on trial, and nothing else until that is decided',
    async () => {
      version('0.3.0')
      const images: string[] = []
      for (const slot of ['A', 'B'] as const) {
        const built = await run(['fw', 'build', project, '--image', `slot${slot}`, '--json'])
        const { bin } = JSON.parse(built.stdout) as { bin: string }
        // An odd length, which our own maker would fill up: what follows stands at odd addresses of the flash.
        const payload = join(folder, `${slot}.bin`)
        writeFileSync(payload, Buffer.concat([readFileSync(bin), Buffer.of(0xff)]))
        const { address = 0, size = 0 } = loadBoard('mps2-an385').layout[`slot${slot}`] ?? {}
        const facts = { version: '0.3.0', counter: 1, slotAddress: address, board: 'mps2-an385', slotBytes: size }
        makeForeignImage({ key: join(keys, 'current.pem'), payload, out: join(folder, `${slot}.img`), ...facts })
        images.push('--image', join(folder, `${slot}.img`))
      }
      const { code, events, stderr } = await withReset(['fw', 'recover', ...images])
      expect(code, stderr).toBe(EXIT.ok)
      expect(events.at(-1)).toEqual({ event: 'done', port })
      await answers()
      const again = await withReset(['fw', 'flash', project, '--keys', keys])
      expect(again).toMatchObject({ code: EXIT.refused, stderr: expect.stringContaining('0.3.0 is on trial') })
    },
  )
})

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))(
  'a board with a second line, while its first is polled',
  { timeout: 180_000 },
  () => {
    const own = join(folder, 'second')
    let rig: BoardRig
    const line = (index: number) => rig.lines[index]?.path ?? ''
    beforeAll(async () => {
      await run(['fw', 'init', own, '--board', 'mps2-an385'])
      const file = join(own, 'sluice-fw.yaml')
      writeFileSync(file, `${readFileSync(file, 'utf8')}management: {uart: 1, baud: 115200}\n`)
      if (!existsSync(keys)) await run(['fw', 'key', 'new', keys])
      const signed = await run(['fw', 'sign', own, '--keys', keys, '--json'])
      const { files } = JSON.parse(signed.stdout) as { files: { slot: string; file: string }[] }
      const boot = await buildBootloader({
        board: 'mps2-an385',
        keys: [(await readKeys(keys)).current],
        production: true,
        outDir: join(folder, 'boot-second'),
        cacheDir,
      })
      const address = loadBoard('mps2-an385').layout.slotA?.address ?? 0
      const memory = [{ address, bytes: readFileSync(files.find(({ slot }) => slot === 'A')?.file ?? '') }]
      rig = await startBoard({ build: boot, lines: ['pty', 'pty'], memory })
    }, 180_000)
    afterAll(async () => await rig?.[Symbol.asyncDispose]())

    it('is updated and confirmed there, and nobody resets it', async () => {
      const file = join(own, 'sluice-fw.yaml')
      writeFileSync(file, readFileSync(file, 'utf8').replace(/^version: .*$/m, 'version: 0.2.0'))
      const polled = run(['fw', 'monitor', own, '--port', line(0), '--every', '100ms', '--for', '3s', '--json'])
      const flashed = await run(['fw', 'flash', own, '--keys', keys, '--port', line(1), '--json'])
      expect(flashed.code, flashed.stderr).toBe(EXIT.ok)
      expect(flashed.events[0]).toMatchObject({ event: 'target', board: 'mps2-an385', running: '0.1.0' })
      expect((await polled).code).toBe(EXIT.ok)
      await using runner = smpRunner(await openSerial(line(1), 115_200, 'none'))
      const { plate, slots } = await runner.look(AbortSignal.timeout(30_000))
      expect(plate).toMatchObject({ recovery: false, running: 1 })
      expect(slots).toMatchObject([{ version: '0.1.0' }, { version: '0.2.0', confirmed: true, active: true }])
    })
  },
)
