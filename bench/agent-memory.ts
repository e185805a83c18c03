import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AckingHub } from './far-side/agent-hub.ts'
import { AgentProcess, bundleAgent } from './far-side/agent-process.ts'
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
  return figures
}

async function cpuSeconds(pid: number): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
