import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { type Firmware, type FlashRunner, refuseOther } from '../../firmware/tools/flash/runner.ts'
import { findUf2Drive, openSerial, openSocket, RUNNERS, type RunnerName, runnerFor } from '../fw/board-line.ts'
import { flashProgress, tellTarget } from '../fw/flash-progress.ts'
import { flashWithTool } from '../fw/foreign-flash.ts'
import { confirmOnLine } from '../fw/line-master.ts'
import { requireProject } from '../fw/load.ts'
import { findSerialPort } from '../fw/serial-ports.ts'
import { SIGNING_OPTIONS } from '../fw/signing-options.ts'
import { givenFirmware, managedFirmware, standaloneFirmware } from '../fw/what-to-flash.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwFlash = defineVerb({
  name: 'fw flash',
  summary: 'Bring firmware onto a board that is plugged in',
  description:
    'Over SMP (a bootloader of ours: reset the board while it waits), a GDB server, a UF2 drive, the ROM loader of an ' +
    'STM32 or of an ESP chip, dfu-util or OpenOCD. Shows what is there, refuses another board, and reads back what was ' +
    'written. SMP sends a signed image into the slot that does not run, and confirms it when it answers; the others write ' +
    'bootloader and image, or a standalone program. --image takes ready files instead of a project.\n\n' +
    'Ends with 3 when no board answers, 4 when it is another one or refuses, 5 when it went away half-way, 6 when it ' +
    'holds something else than was written, 7 when a program is missing.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    ...SIGNING_OPTIONS,
    port: { kind: 'text', value: 'WHERE', help: 'Serial port, host:port of a GDB server, or folder of a UF2 drive.' },
    runner: { kind: 'text', value: 'NAME', help: `${RUNNERS.join(', ')}. Default: what the port calls for.` },
    image: {
      kind: 'text',
      value: 'FILE[@ADDRESS]',
      repeatable: true,
      help: 'A ready image instead of a project; for SMP the signed ones of both slots.',
    },
    baud: { kind: 'count', value: 'N', help: 'Of the serial port. Default 115200; esp sends at 460800.' },
    'page-size': { kind: 'count', value: 'BYTES', help: 'Flash page of an STM32 that is not in our table.' },
    config: { kind: 'text', value: 'FILE', help: 'Configuration file of OpenOCD.' },
    standalone: { kind: 'flag', help: 'A program without bootloader: it cannot be updated over its line.' },
    replace: { kind: 'flag', help: 'Write over firmware of another board (GDB, STM32).' },
    'no-confirm': { kind: 'flag', help: 'SMP: leave the new image on trial; a gateway or you confirm it.' },
  },
  examples: [
    { command: 'sluice fw flash greenhouse --dev', says: 'The board whose drive is mounted, or on its serial port' },
    {
      command: 'sluice fw flash greenhouse --keys ~/keys/greenhouse --port localhost:3333',
      says: 'Through OpenOCD’s GDB server',
    },
    {
      command: 'sluice fw flash --runner esp --image merged.bin --port /dev/ttyUSB0',
      says: 'What ESP-IDF, Arduino or ESPHome built',
    },
  ],
  async run({ options, args, out, signal, env }) {
    const { board, keys, next, dev, counter, image } = options
    const named = RUNNERS.find((each) => each === options.runner)
    if (options.runner !== undefined && named === undefined)
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `'${options.runner}' is no runner`, {
        hint: `Choose one of ${RUNNERS.join(', ')}.`,
      })
    const project = args[0] !== undefined || image.length === 0
    const made = project ? requireProject(args[0] ?? '.', board === undefined ? {} : { board }) : undefined
    const drive = named === undefined || named === 'uf2' ? findUf2Drive() : undefined
    const where = options.port ?? drive ?? made?.project.port ?? ''
    const name = named ?? runnerFor(where)
    const firmware = await built(name)
    if (name === 'dfu' || name === 'openocd') {
      await flashWithTool(name, firmware, {
        config: options.config,
        path: env['PATH'] ?? '',
        signal,
        out,
        onPercent: (percent) => (out.json ? out.value({ event: 'progress', percent }) : out.note(`${percent} %`)),
      })
      done(name, where)
      return EXIT.ok
    }
    const serial = name === 'smp' || name === 'stm32' || name === 'esp'
    const port = serial && options.port === undefined ? await findSerialPort(where) : where
    const outcome = await flashed(name, port, firmware)
    if (outcome.trial !== undefined && made !== undefined && !options['no-confirm']) {
      out.note('waiting for the new image to answer on its line ...')
      const { version } = await confirmOnLine(made, port, outcome.trial, signal)
      done(name, port, version)
    } else done(name, port)
    return EXIT.ok

    function built(kind: RunnerName): Promise<Firmware> | Firmware {
      if (image.length > 0) return givenFirmware(image, kind, board ?? made?.board.name)
      if (made === undefined || kind === 'esp')
        throw new SluiceError('SLUICE_FW_FLASH_IMAGE', 'this toolkit builds no firmware for ESP chips', {
          hint: 'Give what another tool built: --image firmware.bin@0x10000.',
        })
      if (options.standalone && kind !== 'smp') return standaloneFirmware(made, signal)
      return managedFirmware(made, { keys, next, development: dev, counter }, kind !== 'smp', signal)
    }

    async function flashed(kind: Exclude<RunnerName, 'dfu' | 'openocd'>, port: string, what: Firmware) {
      await using runner = await opened(kind, port)
      if (kind === 'smp') out.note(`waiting for a board at ${port}; reset it when it runs ...`)
      const target = await runner.identify(signal)
      tellTarget(out, target, { runner: runner.name, port })
      refuseOther(target, what, { replace: options.replace })
      return await runner.flash(what, { signal, onProgress: flashProgress(out, systemClock) })
    }

    async function opened(kind: Exclude<RunnerName, 'dfu' | 'openocd'>, port: string): Promise<FlashRunner> {
      const baud = options.baud ?? 115_200
      switch (kind) {
        case 'uf2':
          return (await import('../../firmware/tools/flash/uf2-runner.ts')).uf2Runner(port)
        case 'gdb':
          return (await import('../../firmware/tools/flash/gdb-runner.ts')).gdbRunner(await openSocket(port))
        case 'stm32': {
          const { stm32Runner } = await import('../../firmware/tools/flash/stm32-runner.ts')
          return stm32Runner(await openSerial(port, baud, 'even'), options['page-size'])
        }
        case 'esp': {
          const { espRunner } = await import('../../firmware/tools/flash/esp-runner.ts')
          // The ROM speaks 115 200 baud until it is told otherwise.
          const wish = options.baud === undefined ? {} : { baud: options.baud }
          return espRunner(await openSerial(port, 115_200, 'none'), wish)
        }
        case 'smp':
          return (await import('../../firmware/tools/flash/smp-runner.ts')).smpRunner(
            await openSerial(port, baud, 'none'),
          )
      }
    }

    function done(runner: string, port: string, confirmed?: string): void {
      const what = confirmed === undefined ? 'written and read back' : `written, runs ${confirmed}, confirmed`
      if (out.json) out.value({ event: 'done', runner, port, ...(confirmed === undefined ? {} : { confirmed }) })
      else out.line(`${out.style.green('✓')} ${what}`)
    }
  },
})
