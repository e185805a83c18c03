import { existsSync } from 'node:fs'
import { listenToNetwork } from '../../agent/discovery/sources/mdns.ts'
import { DeviceApi } from '../../api/client/device-api.ts'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { DEFAULT_DATA, dataFolder, socketPath } from '../device-api.ts'
import type { Output } from '../output.ts'
import { type FoundDevice, tellAgent } from '../tell-agent.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

const MAX_MS = 600_000

export const discoverMdns = defineVerb({
  name: 'discover mdns',
  summary: 'Ask the network who announces something that Sluice speaks',
  description:
    'Multicast DNS: Modbus servers, MQTT brokers, Shelly, Tasmota and ESPHome devices. Says what each is and what to do ' +
    'next. What is found is told to the agent of this folder when it runs. An agent that is started with ' +
    '--discover usb,mdns asks by itself every five minutes.',
  options: {
    time: { kind: 'duration', value: 'TIME', help: 'How long to listen for answers.', default: '5s' },
    interface: { kind: 'text', value: 'ADDRESS', help: 'IPv4 address to ask from. Default all but loopback.' },
    data: { kind: 'text', value: 'DIR', help: `Folder of the agent (also: SLUICE_DATA). Default ${DEFAULT_DATA}.` },
  },
  examples: [
    { command: 'sluice discover mdns', says: 'Everything that answers within five seconds' },
    { command: 'sluice discover mdns --interface 10.0.5.2 --json', says: 'Only on one network, for a program' },
  ],
  async run({ options, out, signal, env }) {
    if (options.time > MAX_MS) {
      throw new SluiceError('SLUICE_CLI_OPTION_VALUE', 'Listening longer than ten minutes finds nothing more', {
        hint: "Give --time up to 10m, or let the agent ask by itself: 'sluice agent --discover usb,mdns'.",
      })
    }
    const found = new Map<string, FoundDevice>()
    const { interface: address } = options
    const host = {
      clock: systemClock,
      log: (level: string, message: string) => {
        if (level !== 'debug') out.note(`${out.style.yellow('!')} ${message}`)
      },
      addresses: () => [],
      withdrawn: () => {},
      sighted: (protocol: string, sightings: readonly FoundDevice['sighting'][]) => {
        for (const sighting of sightings) {
          const isNew = !found.has(`${protocol} ${sighting.id}`)
          found.set(`${protocol} ${sighting.id}`, { protocol, sighting })
          if (isNew && !out.json) showFound(out, { protocol, sighting })
        }
      },
    }
    const interfaces = address === undefined ? {} : { interfaces: () => [address] }
    await listenToNetwork(host, interfaces, options.time, signal)
    const socket = socketPath(dataFolder(options.data, env))
    if (existsSync(socket)) await tellAgent(new DeviceApi({ kind: 'socket', path: socket }), [...found.values()], out)
    if (out.json) out.value({ items: [...found.values()].map(({ protocol, sighting }) => ({ protocol, ...sighting })) })
    else if (found.size === 0) {
      out.note('Nobody answered. Multicast does not cross routers, and some Wi-Fi networks drop it.')
    }
    return found.size === 0 ? EXIT.failure : EXIT.ok
  },
})

function showFound(out: Output, { protocol, sighting: { id, name, candidates, facts } }: FoundDevice): void {
  const { style } = out
  out.line(`${style.green('●')} ${style.bold(printable(name ?? id))}  ${protocol}  ${printable(facts['host'] ?? '')}`)
  const [best] = candidates
  if (best !== undefined) out.line(`    resembles ${printable(best.model)}: ${printable(best.why)}`)
  if (facts['next'] !== undefined) out.line(`    ${style.dim(printable(facts['next']))}`)
}
