import { existsSync } from 'node:fs'
import { DeviceApi } from '../../api/client/device-api.ts'
import { SluiceError } from '../../api/errors.ts'
import { type KnownProduct, type ScanLine, scanModbus } from '../../mappers/modbus/scan.ts'
import type { Sighting } from '../../mappers/sdk/mapper.ts'
import { catalogueFiles } from '../catalogue.ts'
import { dataFolder, socketPath } from '../device-api.ts'
import type { Output } from '../output.ts'
import {
  atMostWords,
  hostLine,
  lastingName,
  samePort,
  serialAdapters,
  serialLines,
  unitList,
} from '../scan-arguments.ts'
import { tellAgent } from '../tell-agent.ts'
import { clip, printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const discoverModbus = defineVerb({
  name: 'discover modbus',
  summary: 'Ask a serial line or a host who is there, unit by unit',
  description:
    'Reads one register of every unit and, where one answers, its identification; writes nothing. Settings are tried in ' +
    'the order given until one gets an answer. What is found is told to the agent of this folder when it runs, and so ' +
    'becomes a DiscoveredDevice. A serial port that the agent uses is refused: another master would disturb it.',
  options: {
    port: { kind: 'text', value: 'PATH', help: 'Serial port, best by its name in /dev/serial/by-id.' },
    host: { kind: 'text', value: 'HOST[:PORT]', help: 'Modbus TCP instead. Default port 502.' },
    units: { kind: 'text', value: 'LIST', help: 'Units to ask.', default: '1-247' },
    bauds: { kind: 'text', value: 'LIST', help: 'Bits per second.', default: '9600,19200,38400,115200' },
    parity: { kind: 'text', value: 'LIST', help: 'none, even, odd or several.', default: 'none,even' },
    timeout: { kind: 'duration', value: 'TIME', help: 'How long a unit may take to answer.', default: '200ms' },
    all: { kind: 'flag', help: 'Try the other settings although one got answers.' },
    data: { kind: 'text', value: 'DIR', help: 'Folder of the agent (also: SLUICE_DATA).' },
  },
  examples: [
    { command: 'sluice discover modbus --port /dev/ttyUSB0', says: 'Every unit with the usual settings' },
    { command: 'sluice discover modbus --port /dev/ttyUSB0 --bauds 9600 --units 1-20', says: 'Much faster' },
    {
      command: 'sluice discover modbus --host 192.168.1.20 --units 1,255',
      says: 'A gateway or a device with Ethernet',
    },
  ],
  async run({ options, out, signal, env }) {
    const { port, host } = options
    if ((port === undefined) === (host === undefined)) throw needsLine()
    const path = port === undefined ? undefined : lastingName(port)
    const lines: ScanLine[] = path === undefined ? [hostLine(host!)] : serialLines(path, options.bauds, options.parity)
    const units = path === undefined ? unitList(options.units, 0, 255) : unitList(options.units, 1, 247)
    const socket = socketPath(dataFolder(options.data, env))
    const agent = existsSync(socket) ? new DeviceApi({ kind: 'socket', path: socket }) : undefined
    if (agent !== undefined && path !== undefined) await refuseUsedPort(agent, path, signal)
    const scan = { lines, units, timeoutMs: options.timeout, everyLine: options.all, products: catalogueProducts() }
    if (!out.json) out.note(atMostWords(lines, units.length, options.timeout))
    const found: Sighting[] = []
    const shows = out.interactive && !out.json
    try {
      for await (const event of scanModbus(scan, signal)) {
        if (event.kind === 'asking') {
          const progress = `${event.line}  unit ${event.unit}  (${event.done + 1} of ${event.total}, ${found.length} found)`
          if (shows) out.raw(`\r\x1b[K${out.style.dim(clip(printable(progress), out.width - 1))}`)
          continue
        }
        if (shows) out.raw('\r\x1b[K')
        if (event.kind === 'note') out.note(`${out.style.yellow('!')} ${event.line}: ${event.text}`)
        else {
          found.push(event.sighting)
          if (!out.json) showFound(out, event.line, event.unit, event.sighting)
        }
      }
    } finally {
      if (shows) out.raw('\r\x1b[K')
      // What was found until Ctrl-C is worth telling, too.
      if (agent !== undefined)
        await tellAgent(
          agent,
          found.map((sighting) => ({ protocol: 'modbus', sighting })),
          out,
        )
    }
    if (out.json) out.value({ items: found })
    else if (found.length === 0)
      out.note(
        path === undefined
          ? 'The host took the connection, but no unit answered. Try --units 0-255, --timeout 1s; does it speak Modbus there?'
          : 'Nobody answered. Check A and B, the common ground; try --bauds 2400,4800,57600, --parity odd, --timeout 1s.',
      )
    return found.length === 0 ? EXIT.failure : EXIT.ok
  },
})

function needsLine(): SluiceError {
  const adapters = serialAdapters()
  const known = adapters.length === 0 ? '' : ` Plugged in: ${adapters.slice(0, 4).join(', ')}.`
  return new SluiceError('SLUICE_CLI_OPTION_VALUE', 'Say where to look: --port or --host, one of them', {
    hint: `Write --port /dev/ttyUSB0 or --host 192.168.1.20.${known}`,
  })
}

async function refuseUsedPort(agent: DeviceApi, path: string, signal: AbortSignal): Promise<void> {
  const links = await agent.links(signal)
  if (!links.some(({ link }) => samePort(link, path))) return
  throw new SluiceError('SLUICE_CLI_LINE_IN_USE', `The agent polls devices on ${path}`, {
    hint: 'Stop the agent for the time of the scan, or set spec.paused of those devices and wait a moment.',
  })
}

const catalogueProducts = (): KnownProduct[] =>
  catalogueFiles().map(({ name }) => {
    const [vendor = '', product = ''] = name.split('/')
    return { model: `${vendor}-${product}`, vendor, product }
  })

function showFound(out: Output, line: string, unit: number, { name, candidates, facts }: Sighting): void {
  const { style } = out
  const said = ['vendor', 'product', 'model', 'revision'].flatMap((key) =>
    facts[key] === undefined ? [] : [facts[key]],
  )
  const who = said.length === 0 ? (name ?? 'does not say who it is') : said.join(' ')
  out.line(`${style.green('●')} ${printable(line)} unit ${style.bold(`${unit}`)}  ${printable(who)}`)
  const [best] = candidates
  if (best !== undefined) out.line(`    resembles ${best.model}: ${printable(best.why)}`)
}
