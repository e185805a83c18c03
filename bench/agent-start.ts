import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { LinkObject } from '../api/link/messages.ts'
import type { DeviceView } from '../api/views.ts'
import { AckingHub } from './far-side/agent-hub.ts'
import { AgentProcess, bundleAgent } from './far-side/agent-process.ts'
import { constantServer } from './far-side/tcp-constant.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const BUDGET_MS = 1000

/**
 * From starting the agent's process to the first reported value: on the local API, read from a real Modbus TCP socket,
 * and at a hub over mutual TLS. The data directory holds the device already, as after a reboot.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const rounds = quick ? 8 : 30
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const [local, hubbed]: [number[], number[]] = [[], []]
  try {
    await using device = await constantServer()
    await using hub = await AckingHub.open(join(folder, 'pki'))
    const file = await bundleAgent(new URL('../agent/main.ts', import.meta.url), join(folder, 'dist'))
    const dataDir = join(folder, 'data')
    await mkdir(dataDir)
    hub.admit(dataDir)
    const objects = join(folder, 'objects.json')
    await writeFile(objects, JSON.stringify(plant(device.port)))
    for (let round = 0; round <= rounds; round++) {
      const valuesBefore = hub.values
      const startMs = performance.now()
      await using agent = await AgentProcess.start(file, [
        '--data',
        dataDir,
        '--objects',
        objects,
        '--log-level',
        'error',
      ])
      while (!(await hasValue(String(agent.ready['socket'])))) await pause(1)
      const localMs = performance.now() - startMs
      while (hub.values === valuesBefore) await pause(1)
      // The first round fills the data directory and the page cache.
      if (round === 0) continue
      local.push(localMs)
      hubbed.push(performance.now() - startMs)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const figure = (name: string, sample: readonly number[]): Figure => {
    const value = percentile(sample, 0.95)
    return {
      bench: 'agent-start',
      figure: `${name}, p95`,
      value,
      unit: 'ms',
      budget: `<= ${BUDGET_MS} ms`,
      ok: value <= BUDGET_MS,
    }
  }
  return [figure('start to first value on the local API', local), figure('start to first value at the hub', hubbed)]
}

const plant = (port: number): LinkObject[] => [
  {
    kind: 'DeviceModel',
    key: 'plant/meter',
    rev: '1',
    object: {
      uid: 'model',
      generation: 1,
      spec: { properties: [{ name: 'voltage', type: 'float', modbus: { input: 0, as: 'float32' } }] },
    },
  },
  {
    kind: 'Device',
    key: 'plant/meter-1',
    rev: '1',
    object: {
      uid: 'device',
      generation: 1,
      spec: { model: 'meter', modbus: { tcp: { host: '127.0.0.1', port }, unit: 1 } },
      desired: {},
    },
  },
]

function hasValue(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path: '/v1/devices/plant/meter-1' }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve((JSON.parse(text) as DeviceView).twins[0]?.quality === 'good'))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}
