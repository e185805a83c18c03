import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../agent/log.ts'
import { runAgent } from '../agent/run.ts'
import type { LinkObject } from '../api/link/messages.ts'
import { mqtt } from '../mappers/mqtt/protocol.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'mqtt'
const DEVICES = 100
const BUDGET = 10_000

function objects(): LinkObject[] {
  const spec = {
    properties: [
      { name: 'power', type: 'float', unit: 'W', mqtt: { topic: '{base}/state', path: 'energy.power' } },
      { name: 'on', type: 'bool', mqtt: { topic: '{base}/state', path: 'state' } },
    ],
    mqtt: { missing: 'ignore' },
  } as const
  const devices = Array.from({ length: DEVICES }, (_, n): LinkObject => {
    const own = { model: 'plug', nodeName: 'gw', mqtt: { base: `d/${n}` } }
    return {
      kind: 'Device',
      key: `plant/plug-${n}`,
      rev: '1',
      object: { uid: `u${n}`, generation: 1, spec: own, desired: {} },
    }
  })
  const model = { uid: 'm', generation: 1, spec: { ...spec, properties: [...spec.properties] } }
  return [{ kind: 'DeviceModel', key: 'plant/plug', rev: '1', object: model }, ...devices]
}

/**
 * JSON messages of 100 devices through the agent's own broker and over its socket into twins, two properties each, with
 * outbox and northbound topics as in earnest. Published from a process of its own at the budget's rate, then as fast
 * as they are taken.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const durationMs = quick ? 3000 : 10_000
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-bench-mqtt-'))
  try {
    await using agent = await runAgent(
      { dataDir, gateway: 'gw', mqtt: { port: 0 } },
      { protocols: [mqtt], log: silentLog, objects: objects(), check: async () => undefined },
    )
    const port = agent.broker.running!.port!
    await using load = await startFarSide(new URL('./far-side/mqtt-publisher.ts', import.meta.url))
    const { counters } = agent.core.engine
    const measure = async (perSecond: number) => {
      await load.ask({ port, devices: DEVICES, perSecond, durationMs: 500 })
      const [readings, cpu, from] = [counters.readings, process.cpuUsage(), performance.now()]
      const { sent } = await load.ask({ port, devices: DEVICES, perSecond, durationMs })
      const seconds = (performance.now() - from) / 1000
      const { user, system } = process.cpuUsage(cpu)
      return {
        taken: (counters.readings - readings) / 2 / seconds,
        sent: Number(sent) / seconds,
        cores: (user + system) / 1e6 / seconds,
      }
    }
    const steady = await measure(BUDGET)
    const flood = await measure(Number.POSITIVE_INFINITY)
    return [
      {
        bench,
        figure: `messages into twins, ${DEVICES} devices, published at ${BUDGET}/s`,
        value: steady.taken,
        unit: 'messages/s',
        ratio: steady.taken / steady.sent,
        peer: 'what was published',
        budget: '>= 0.99 of what was published',
        ok: steady.taken >= 0.99 * steady.sent,
      },
      { bench, figure: 'processor for that, agent with broker', value: steady.cores, unit: 'cores', ok: true },
      {
        bench,
        figure: 'messages into twins, published as fast as they are taken',
        value: flood.taken,
        unit: 'messages/s',
        budget: `>= ${BUDGET}`,
        ok: flood.taken >= BUDGET,
      },
    ]
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}
