import { systemClock } from '../../api/clock.ts'
import type { SlotState } from '../../firmware/tools/smp/client.ts'
import { openSerial } from '../fw/board-line.ts'
import { flashProgress } from '../fw/flash-progress.ts'
import { confirmOnLine } from '../fw/line-master.ts'
import { requireProject } from '../fw/load.ts'
import { findSerialPort } from '../fw/serial-ports.ts'
import { SIGNING_OPTIONS } from '../fw/signing-options.ts'
import { givenFirmware, managedFirmware } from '../fw/what-to-flash.ts'
import { printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwRecover = defineVerb({
  name: 'fw recover',
  summary: 'Look into a board that does not come up, and bring an image onto it',
  description:
    'Talks to the bootloader (SMP on the first serial line): reset the board, or switch it on, while this waits. Shows ' +
    'what is in both slots and why it is not started, sends the signed image of the project or of --image into the slot ' +
    'that would not be started, and starts it. What was cut off goes on where it was. --list changes nothing.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    ...SIGNING_OPTIONS,
    port: { kind: 'text', value: 'PORT', help: "Serial port. Default the project's, or the only one there is." },
    image: { kind: 'text', value: 'FILE', repeatable: true, help: 'Signed images instead of a project.' },
    baud: { kind: 'count', value: 'N', default: '115200', help: 'Of the bootloader.' },
    list: { kind: 'flag', help: 'Only look.' },
    'no-confirm': { kind: 'flag', help: 'Leave the new image on trial.' },
  },
  examples: [
    { command: 'sluice fw recover --list --port /dev/ttyUSB0', says: 'What is in it, and why it does not start' },
    { command: 'sluice fw recover greenhouse --keys ~/keys/greenhouse', says: 'A new image, whatever is in it' },
  ],
  async run({ options, args, out, signal }) {
    const { board, keys, next, dev, counter, image } = options
    const project = args[0] !== undefined || (image.length === 0 && !options.list)
    const made = project ? requireProject(args[0] ?? '.', board === undefined ? {} : { board }) : undefined
    const port = options.port ?? (await findSerialPort(made?.project.port ?? ''))
    const firmware =
      image.length > 0
        ? givenFirmware(image, 'smp', board ?? made?.board.name)
        : made === undefined || options.list
          ? undefined
          : await managedFirmware(made, { keys, next, development: dev, counter }, false, signal)
    const { smpRunner } = await import('../../firmware/tools/flash/smp-runner.ts')
    let trial: Uint8Array | undefined
    {
      await using runner = smpRunner(await openSerial(port, options.baud, 'none'))
      out.note(`waiting for the bootloader at ${port}; reset the board ...`)
      const { plate, slots } = await runner.look(signal)
      if (out.json)
        out.value({ event: 'target', port, ...plate, modelHash: hex(plate.modelHash), slots: slots.map(shown) })
      else {
        out.line(printable(`${plate.board} ${plate.id}, security counter ${plate.securityCounter}`))
        for (const line of slotTable(slots, out.width, out.style.bold)) out.line(line)
      }
      if (firmware === undefined) {
        await runner.leave(signal)
        return EXIT.ok
      }
      ;({ trial } = await runner.flash(firmware, { signal, onProgress: flashProgress(out, systemClock) }))
    }
    if (trial !== undefined && made !== undefined && !options['no-confirm']) {
      out.note('waiting for the new image to answer on its line ...')
      const { version } = await confirmOnLine(made, port, trial, signal)
      if (out.json) out.value({ event: 'done', port, confirmed: version })
      else out.line(`${out.style.green('✓')} runs ${version}, confirmed`)
    } else if (out.json) out.value({ event: 'done', port })
    else out.line(`${out.style.green('✓')} written and read back; it is on trial until a gateway confirms it`)
    return EXIT.ok
  },
})

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')

const shown = ({ hash, ...slot }: SlotState) => ({ ...slot, hash: hex(hash) })

function slotTable(slots: readonly SlotState[], width: number, bold: (text: string) => string): readonly string[] {
  if (slots.length === 0) return ['both slots are empty']
  const rows = slots.map(({ slot, version, confirmed, pending, attempts, refusal, bootable }) => [
    slot === 0 ? 'A' : 'B',
    version,
    confirmed ? 'confirmed' : pending ? `on trial, ${attempts ?? 0} of 3 starts` : bootable ? 'starts' : '',
    refusal ?? '',
  ])
  return table(
    [{ title: 'slot' }, { title: 'version' }, { title: 'state' }, { title: 'not started because' }],
    rows,
    width,
    bold,
  )
}
