import { runAgent } from '../../agent/run.ts'
import { systemClock } from '../../api/clock.ts'
import type { LinkObject } from '../../api/link/messages.ts'
import type { MapperHost, Protocol, Reading } from '../../mappers/sdk/mapper.ts'

/**
 * The real agent with a mapper that makes readings up: `SYNTHETIC` is `devices,properties,periodMs`; every property
 * changes every period, the devices are spread over it. Arguments: the data directory.
 */
const [devices = 0, properties = 0, periodMs = 1000] = (process.env['SYNTHETIC'] ?? '').split(',').map(Number)

const unused = async () => {
  throw new Error('not used by the benchmark')
}

function start(host: MapperHost, keys: readonly string[]): () => void {
  const names = Array.from({ length: properties }, (_, i) => `p${i}`)
  let tick = 0
  const timers = keys.map((device, index) => {
    const poll = () => {
      const atMs = host.clock.now()
      tick++
      host.readings(
        names.map(
          (property, i): Reading => ({ device, property, value: ((tick + i) % 4096) / 16, atMs, quality: 'good' }),
        ),
      )
    }
    let timer: NodeJS.Timeout
    const first = setTimeout(
      () => {
        poll()
        timer = setInterval(poll, periodMs)
      },
      (index * periodMs) / keys.length,
    )
    return () => {
      clearTimeout(first)
      clearInterval(timer)
    }
  })
  return () => {
    for (const stop of timers) stop()
  }
}

const synthetic: Protocol = {
  name: 'synthetic',
  schema: unused,
  lint: unused,
  explain: unused,
  load: async () => (host) => {
    let stop = () => {}
    return {
      configure(bindings) {
        stop()
        host.reachability(bindings.map(({ key }) => ({ device: key, online: true, atMs: host.clock.now() })))
        stop = start(
          host,
          bindings.map(({ key }) => key),
        )
      },
      write: async () => ({ state: 'applied', atMs: host.clock.now() }),
      links: () => [],
      explain: () => undefined,
      async [Symbol.asyncDispose]() {
        stop()
      },
    }
  },
}

const model: LinkObject = {
  kind: 'DeviceModel',
  key: 'plant/model',
  rev: '1',
  object: {
    uid: 'model',
    generation: 1,
    spec: { properties: Array.from({ length: properties }, (_, i) => ({ name: `p${i}`, type: 'float' as const })) },
  },
}

const objects: LinkObject[] = [
  model,
  ...Array.from({ length: devices }, (_, i): LinkObject => {
    const object = { uid: `uid-${i}`, generation: 1, spec: { model: 'model', synthetic: {} }, desired: {} }
    return { kind: 'Device', key: `plant/device-${i}`, rev: '1', object }
  }),
]

const agent = await runAgent(
  { dataDir: process.argv[2]! },
  { clock: systemClock, protocols: [synthetic], check: async () => undefined, objects },
)
process.stdout.write(`${JSON.stringify({ event: 'ready', socket: agent.socketPath })}\n`)
process.on('SIGTERM', () => void agent[Symbol.asyncDispose]().then(() => process.exit(0)))
