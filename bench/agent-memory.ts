import { createSocket } from 'node:dgram'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { DeviceApi } from '../api/client/device-api.ts'
import { buildPrograms } from '../scripts/build.ts'
import { AckingHub } from './far-side/agent-hub.ts'
import { AgentProcess, bundleAgent } from './far-side/agent-process.ts'
import { oneDeviceEach, PROTOCOLS } from './far-side/four-protocols.ts'
import { startFarSide } from './far-side/process.ts'
import { constantServer } from './far-side/tcp-constant.ts'
import { type BenchOptions, type Figure, percentile, residentMiB } from './harness.ts'

/** Neuron and KubeEdge, measured or published elsewhere on the same shape of work: see bench/README.md. */
const LOADS = [
  {
    name: '100 devices, 1 000 properties/s',
    synthetic: '100,10,1000',
    budgetMiB: 70,
    peer: 'KubeEdge EdgeCore, device part alone, idle',
    peerMiB: 70,
  },
  {
    name: '100 devices, 10 000 properties/s',
    synthetic: '100,100,1000',
    budgetMiB: 100,
    peer: 'Neuron at 10 000 tags/s',
    peerMiB: 199,
  },
] as const

/** Resident memory of the real agent, bundled, with its link up and every value reported and acknowledged. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const seconds = quick ? 12 : 60
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const figures: Figure[] = []
  try {
    const file = await bundleAgent(new URL('./far-side/agent-entry.ts', import.meta.url), join(folder, 'dist'))
    for (const [index, load] of LOADS.entries()) {
      await using hub = await AckingHub.open(join(folder, `pki-${index}`))
      const dataDir = join(folder, `data-${index}`)
      await mkdir(dataDir)
      hub.admit(dataDir)
      await using agent = await AgentProcess.start(file, [dataDir], { SYNTHETIC: load.synthetic })
      const sample: number[] = []
      const cpuBefore = await cpuSeconds(agent.pid)
      await pause(2000)
      const [valuesBefore, startMs] = [hub.values, performance.now()]
      for (let second = 0; second < seconds; second++) {
        await pause(1000)
        sample.push(await residentMiB(agent.pid))
      }
      const rate = ((hub.values - valuesBefore) * 1000) / (performance.now() - startMs)
      const cpu = ((await cpuSeconds(agent.pid)) - cpuBefore) / (seconds + 2)
      // The highest tenth, not the median: what a small gateway has to have free.
      const memory = percentile(sample, 0.9)
      figures.push(
        {
          bench: 'agent-memory',
          figure: `resident memory, ${load.name}`,
          value: memory,
          unit: 'MiB',
          peer: load.peer,
          ratio: memory / load.peerMiB,
          budget: `<= ${load.budgetMiB} MiB`,
          ok: memory <= load.budgetMiB,
        },
        { bench: 'agent-memory', figure: `values acknowledged, ${load.name}`, value: rate, unit: '1/s', ok: true },
        { bench: 'agent-memory', figure: `processor, ${load.name}`, value: cpu * 100, unit: '% of a core', ok: true },
      )
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return [...figures, ...(await idle(quick))]
}

interface IdleSet {
  readonly label: string
  readonly protocols: readonly (typeof PROTOCOLS)[number][]
  /** `--pods`: what runs pods, were there any. */
  readonly pods: 'off' | 'process'
  readonly budgetMiB?: number
  readonly peer?: { readonly name: string; readonly miB: number }
}

const idleSet = (protocols: IdleSet['protocols']): IdleSet => ({
  ...{ label: protocols.length === 0 ? 'no protocol' : protocols.join(', '), protocols, pods: 'off' },
  ...(protocols.length === PROTOCOLS.length ? { budgetMiB: 70 } : {}),
})

/** EdgeCore with its pods, measured: it cannot be without them. */
const WITH_PODS: IdleSet = {
  ...{ label: 'pods enabled, no protocol', protocols: [], pods: 'process', budgetMiB: 80 },
  peer: { name: 'KubeEdge EdgeCore, measured elsewhere', miB: 84 },
}

/**
 * The agent as it is packed, joined, with one device of each protocol that is quiet: all four against none, and as a node
 * that could run pods. What is loaded for a protocol is what its first device costs; one that no device uses is not
 * loaded at all.
 */
async function idle(quick: boolean): Promise<readonly Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const root = fileURLToPath(new URL('..', import.meta.url))
  const sets = [
    ...[idleSet([]), ...(quick ? [] : PROTOCOLS.map((name) => idleSet([name])))],
    ...[idleSet(PROTOCOLS), WITH_PODS],
  ]
  try {
    await using server = await constantServer()
    await using radio = await startFarSide(new URL('../hil/radio/radio-main.ts', import.meta.url), [
      ...['C0:00:00:00:00:01', '1', '1000'],
    ])
    const adapter = (radio.ready['paths'] as readonly string[])[0]!
    await buildPrograms(root, join(folder, 'dist'))
    // What is not bundled, the bundle finds beside it, as in an installation.
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    const figures: Figure[] = []
    for (const [index, { label, protocols: names, pods, budgetMiB, peer }] of sets.entries()) {
      await using hub = await AckingHub.open(join(folder, `pki-${index}`))
      const dataDir = join(folder, `data-${index}`)
      await mkdir(dataDir)
      hub.admit(dataDir)
      const objects = join(folder, `objects-${index}.json`)
      const wires = { modbusPort: server.port, loraPort: await freeUdpPort(), adapter }
      await writeFile(objects, JSON.stringify(oneDeviceEach(names, wires)))
      const ports = names.includes('mqtt') ? ['--mqtt-port', '0'] : []
      await using agent = await AgentProcess.start(join(folder, 'dist', 'agent.js'), [
        ...['--data', dataDir, '--objects', objects, '--log-level', 'warn', '--pods', pods, ...ports],
      ])
      await linksUp(String(agent.ready['socket']), names, wires.loraPort)
      // Starting leaves garbage, which the engine collects once, 8 to 12 s later; idle is what comes after that.
      await pause(quick ? 15_000 : 20_000)
      const cpuBefore = await cpuSeconds(agent.pid)
      const sample: number[] = []
      for (let second = 0; second < (quick ? 4 : 20); second++) {
        await pause(1000)
        sample.push(await residentMiB(agent.pid))
      }
      const cpu = ((await cpuSeconds(agent.pid)) - cpuBefore) / sample.length
      const rss = percentile(sample, 0.9)
      const row = (value: number, what: string, unit: string): Figure => ({
        ...{ bench: 'agent-memory', figure: `${what}, idle with ${label}`, value, unit, ok: true },
      })
      figures.push(
        {
          ...row(rss, 'resident memory', 'MiB'),
          ...(peer === undefined ? {} : { peer: peer.name, ratio: rss / peer.miB }),
          ...(budgetMiB === undefined ? {} : { budget: `<= ${budgetMiB} MiB`, ok: rss <= budgetMiB }),
        },
        row(await proportionalMiB(agent.pid), 'proportional memory', 'MiB'),
        row(cpu * 100, 'processor', '% of a core'),
      )
    }
    return figures
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A forwarder that asks for what is to be sent: PULL_DATA (Semtech UDP, section 5.2). */
const PULL_DATA = Buffer.from('02000102aa555a0000000101', 'hex')

/** What did not load, or hears nothing, would cost less than it should. */
async function linksUp(socket: string, names: readonly string[], loraPort: number): Promise<void> {
  const api = new DeviceApi({ kind: 'socket', path: socket })
  const deadline = AbortSignal.timeout(20_000)
  const forwarder = createSocket('udp4')
  try {
    for (;;) {
      forwarder.send(PULL_DATA, loraPort, '127.0.0.1')
      const links = await api.links(deadline)
      if (names.every((name) => links.some(({ protocol, state }) => protocol === name && state === 'up'))) return
      await pause(100, undefined, { signal: deadline })
    }
  } finally {
    forwarder.close()
  }
}

/** Memory with shared pages counted by their share; a second agent on the machine costs this. */
async function proportionalMiB(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? Number.NaN) / 1024
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
