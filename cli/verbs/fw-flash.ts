import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { build, writeGenerated } from '../../firmware/project/make.ts'
import { buildBootloader } from '../../firmware/tools/bootloader.ts'
import { type Firmware, type FlashRunner, refuseOther } from '../../firmware/tools/flash/runner.ts'
import { gdbRunner, smpRunner, stm32Runner, toolArguments, uf2Runner } from '../../firmware/tools/flash/runners.ts'
import { developmentKey, publicKeyOf, readKeys } from '../../firmware/tools/keys.ts'
import { findOnPath } from '../find-on-path.ts'
import { findUf2Drive, openSerial, openSocket, type RunnerName, runnerFor } from '../fw/board-line.ts'
import { requireProject } from '../fw/load.ts'
import { signProject } from '../fw/release.ts'
import { SIGNING_OPTIONS } from '../fw/signing-options.ts'
import { defineVerb, EXIT } from '../verb.ts'

const RUNNERS = ['smp', 'gdb', 'uf2', 'stm32', 'dfu', 'openocd'] as const satisfies readonly RunnerName[]
const TELL_MS = 250

export const fwFlash = defineVerb({
  name: 'fw flash',
  summary: 'Bring firmware onto a board that is plugged in',
  description:
    'Over SMP (a bootloader of ours: reset the board while it waits), a GDB server, a UF2 drive, the ROM loader of an ' +
    'STM32, dfu-util or OpenOCD. Shows what is there, refuses another board, and reads back what was written. SMP sends a ' +
    'signed image into the slot that does not run; the others write bootloader and image, or a standalone program.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    ...SIGNING_OPTIONS,
    port: { kind: 'text', value: 'WHERE', help: 'Serial port, host:port of a GDB server, or folder of a UF2 drive.' },
    runner: { kind: 'text', value: 'NAME', help: `${RUNNERS.join(', ')}. Default: what the port calls for.` },
    baud: { kind: 'count', value: 'N', default: '115200', help: 'Of the serial port.' },
    'page-size': { kind: 'count', value: 'BYTES', default: '1024', help: 'Flash page of an STM32.' },
    config: { kind: 'text', value: 'FILE', help: 'Configuration file of OpenOCD.' },
    standalone: { kind: 'flag', help: 'A program without bootloader: it cannot be updated over its line.' },
  },
  examples: [
    { command: 'sluice fw flash greenhouse --dev', says: 'The board whose drive is mounted, or on /dev/ttyACM0' },
    {
      command: 'sluice fw flash greenhouse --keys ~/keys/greenhouse --port localhost:3333',
      says: 'Through OpenOCD’s GDB server',
    },
  ],
  async run({ options, args, out, signal, env }) {
    const { board, keys, next, dev, counter } = options
    const made = requireProject(args[0] ?? '.', board === undefined ? {} : { board })
    const port = options.port ?? findUf2Drive() ?? made.project.port
    const name =
      RUNNERS.find((each) => each === options.runner) ?? (options.runner === undefined ? runnerFor(port) : undefined)
    if (name === undefined)
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `'${options.runner}' is no runner`, {
        hint: `Choose one of ${RUNNERS.join(', ')}.`,
      })
    const firmware = await (options.standalone ? standalone() : managed())
    if (name === 'dfu' || name === 'openocd') return await byTool(name, firmware)
    await using runner = await open(name)
    const target = await runner.identify(signal)
    if (!out.json)
      out.note(
        `${target.chip}${target.running === undefined ? '' : `, runs ${target.running}`}, over ${runner.name} at ${port}`,
      )
    refuseOther(target, firmware.board)
    let told = 0
    let rate = 0
    await runner.flash(firmware, {
      signal,
      onProgress: ({ writtenBytes, totalBytes, bytesPerSecond }) => {
        rate = bytesPerSecond
        const nowMs = systemClock.monotonic()
        if (nowMs - told < TELL_MS && writtenBytes < totalBytes) return
        told = nowMs
        if (out.json) out.value({ writtenBytes, totalBytes, bytesPerSecond: Math.round(bytesPerSecond) })
        else out.note(`${Math.floor((writtenBytes * 100) / totalBytes)} %  ${(bytesPerSecond / 1024).toFixed(1)} KiB/s`)
      },
    })
    if (out.json) out.value({ done: true, runner: runner.name, target, bytesPerSecond: Math.round(rate) })
    else out.line(`${out.style.green('✓')} written and read back`)
    return EXIT.ok

    async function open(kind: Exclude<RunnerName, 'dfu' | 'openocd'>): Promise<FlashRunner> {
      if (kind === 'uf2') return uf2Runner(port)
      if (kind === 'gdb') return gdbRunner(await openSocket(port))
      if (kind === 'stm32') return stm32Runner(await openSerial(port, options.baud, 'even'), options['page-size'])
      return smpRunner(await openSerial(port, options.baud, 'none'))
    }

    async function standalone(): Promise<Firmware> {
      writeGenerated(made)
      const built = await build(made, { image: 'standalone', signal })
      return {
        board: made.board.name,
        regions: [{ address: built.address, bytes: readFileSync(built.bin) }],
        images: [],
      }
    }

    async function managed(): Promise<Firmware> {
      const release = await signProject(made, { keys, next, development: dev, counter }, signal)
      const images = release.images.map(({ bytes }) => bytes)
      if (name === 'smp') return { board: made.board.name, regions: [], images }
      const known = release.keys === undefined ? undefined : await readKeys(release.keys)
      const boot = await buildBootloader({
        board: made.board,
        keys:
          known === undefined
            ? [publicKeyOf(developmentKey())]
            : [known.current, ...(known.next === undefined ? [] : [known.next])],
        production: known !== undefined,
        outDir: join(made.project.folder, 'build', made.board.name, 'boot'),
        signal,
      })
      const slot = release.spec.images.find((image) => image.slot === 'A')
      const first = release.images.find((image) => image.slot === 'A')
      const regions = [
        { address: boot.address, bytes: readFileSync(boot.bin) },
        { address: slot?.slotAddress ?? 0, bytes: first?.bytes ?? new Uint8Array() },
      ]
      return { board: made.board.name, regions, images }
    }

    /** The programs take one file: the regions with what lies between them. */
    async function byTool(kind: 'dfu' | 'openocd', { regions }: Firmware) {
      const tool = kind === 'dfu' ? 'dfu-util' : 'openocd'
      const path = findOnPath(tool, env['PATH'] ?? '')
      if (path === undefined)
        throw new SluiceError('SLUICE_FW_FLASH_TOOL', `${tool} is not installed`, {
          hint: `Type: sudo apt-get install ${tool}`,
        })
      const start = Math.min(...regions.map(({ address }) => address))
      const end = Math.max(...regions.map(({ address, bytes }) => address + bytes.length))
      const whole = Buffer.alloc(end - start, 0xff)
      for (const { address, bytes } of regions) whole.set(bytes, address - start)
      const folder = join(made.project.folder, 'build', made.board.name)
      mkdirSync(folder, { recursive: true })
      const file = join(folder, 'flash.bin')
      writeFileSync(file, whole)
      const child = spawn(path, toolArguments(tool, file, start, options.config), {
        stdio: ['ignore', 'inherit', 'inherit'],
        signal,
      })
      const [code] = (await once(child, 'close')) as [number | null]
      if (code !== 0)
        throw new SluiceError('SLUICE_FW_FLASH_TOOL', `${tool} ended with ${code ?? 'a signal'}`, {
          hint: 'Its own words are above.',
        })
      return EXIT.ok
    }
  },
})
