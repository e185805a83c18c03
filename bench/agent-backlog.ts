import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AckingHub } from './far-side/agent-hub.ts'
import { fillOutbox } from './far-side/agent-offline.ts'
import { AgentProcess, bundleAgent } from './far-side/agent-process.ts'
import { type BenchOptions, type Figure, residentMiB } from './harness.ts'

const LIVE_RATE = 100
const BUDGET = 20

/** An outage at 100 values a second drained by the real agent over mutual TLS while 100 new values a second arrive. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const seconds = quick ? 6 * 3600 : 24 * 3600
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  try {
    const file = await bundleAgent(new URL('./far-side/agent-entry.ts', import.meta.url), join(folder, 'dist'))
    await using hub = await AckingHub.open(join(folder, 'pki'))
    const dataDir = join(folder, 'data')
    await mkdir(dataDir)
    hub.admit(dataDir)
    const { values, batches } = fillOutbox(dataDir, seconds, LIVE_RATE)
    await using agent = await AgentProcess.start(file, [dataDir], { SYNTHETIC: `10,${LIVE_RATE / 10},1000` })
    while (hub.backfilled === 0) await pause(1)
    const [startMs, before] = [performance.now(), hub.backfilled]
    let peakMiB = 0
    while (hub.backfilled < values) {
      await pause(20)
      peakMiB = Math.max(peakMiB, await residentMiB(agent.pid))
    }
    const rate = ((hub.backfilled - before) * 1000) / (performance.now() - startMs)
    // What was written between the start and the connection belongs to the backlog too, so it may be a little more.
    const complete = hub.outOfOrder === 0 && hub.received[0]?.[0] === 1 && hub.received[0][1] >= batches
    const name = `${seconds / 3600} h offline at ${LIVE_RATE} values/s`
    return [
      {
        bench: 'agent-backlog',
        figure: `drained, ${name}`,
        value: rate,
        unit: 'values/s',
        peer: `live rate, ${LIVE_RATE}/s`,
        ratio: rate / LIVE_RATE,
        budget: `>= ${BUDGET} x live rate, all ${values} values, in order`,
        ok: rate >= BUDGET * LIVE_RATE && complete,
      },
      {
        bench: 'agent-backlog',
        figure: `highest memory while draining, ${name}`,
        value: peakMiB,
        unit: 'MiB',
        ok: true,
      },
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
