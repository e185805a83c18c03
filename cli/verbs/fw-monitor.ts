import { systemClock } from '../../api/clock.ts'
import { gatewayModel } from '../../firmware/generator/emit-documents.ts'
import { createMapper } from '../../mappers/modbus/mapper.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import { requireProject } from '../fw/load.ts'
import { findSerialPort } from '../fw/serial-ports.ts'
import { withUnit } from '../values.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwMonitor = defineVerb({
  name: 'fw monitor',
  summary: 'Follow the values of a board on a serial port, without an agent',
  description:
    'Reads the board as a gateway would, with the model of the project. A board made of another model is refused, and ' +
    'says so. Nothing else may have the port open meanwhile.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: {
    port: { kind: 'text', value: 'PORT', help: "Serial port. Default the project's, or the only one there is." },
    every: { kind: 'duration', value: 'TIME', help: 'Read this often. Default 1s.' },
    for: { kind: 'duration', value: 'TIME', help: 'End after this long. Default: with Ctrl-C.' },
  },
  examples: [
    { command: 'sluice fw monitor greenhouse --port /dev/ttyACM0', says: 'Values as they change' },
    { command: 'sluice fw monitor greenhouse --for 5s --json', says: 'One object a reading' },
  ],
  async run({ options, args, out, signal }) {
    const { project, generated } = requireProject(args[0] ?? '.')
    const units = new Map(generated.model.properties.map(({ name, unit }) => [name, unit]))
    const shown = new Map<string, string>()
    let good = 0
    const show = (reading: Reading): void => {
      const { property, value, quality, reason, atMs } = reading
      if (quality === 'good') good++
      const unit = units.get(property)
      const text =
        quality === 'good'
          ? withUnit({ value: value ?? null, ...(unit === undefined ? {} : { unit }) })
          : `${quality} ${reason ?? ''}`.trim()
      if (out.json) out.value({ at: new Date(atMs).toISOString(), property, value, quality, reason })
      else if (shown.get(property) !== text)
        out.line(`${new Date(atMs).toISOString().slice(11, 19)} ${property} ${text}`)
      shown.set(property, text)
    }
    const mapper = createMapper({
      clock: systemClock,
      random: Math.random,
      readings: (batch) => batch.forEach(show),
      reachability: (news) => {
        for (const { online, reason } of news) if (!online) out.note(`not reached: ${reason ?? 'no answer'}`)
      },
      event: ({ message }) => out.note(message),
      writeNews: () => undefined,
      log: () => undefined,
    })
    const { baud, parity, stopBits } = project.line
    const rtu = { port: options.port ?? (await findSerialPort(project.port)), baud, parity, stopBits }
    const poll = { every: `${options.every ?? 1000}ms` }
    const model = gatewayModel(generated.model)
    const device = { model: project.name, modbus: { rtu, unit: project.unit }, poll }
    mapper.configure([{ key: `default/${project.name}`, device, model, revision: '1' }])
    await new Promise<void>((resolve) => {
      const timer = options.for === undefined ? undefined : systemClock.after(options.for, resolve, true)
      const end = (): void => {
        timer?.cancel()
        resolve()
      }
      signal.addEventListener('abort', end, { once: true })
    })
    await mapper[Symbol.asyncDispose]()
    // Who watches for a while wants to know whether there was anything to see.
    return options.for === undefined || good > 0 ? EXIT.ok : EXIT.unreachable
  },
})
