import { setTimeout as pause } from 'node:timers/promises'
import { addressOf, BenchHouse } from './far-side/house.ts'
import { startFarSide } from './far-side/process.ts'
import { ageOf, type BenchOptions, type Figure, percentile, processorSeconds, residentMiB } from './harness.ts'

const bench = 'wire-path'
const DEVICES = 100
const REGISTERS = 100
const RATE = DEVICES * REGISTERS

/**
 * 100 devices with 100 registers each, all of which change all the time, read once a second over Modbus TCP by the
 * bundled agent, and a subscriber of the cloud core's stream. A value is the moment when the far side put it on the wire.
 * Far side, agent, cloud core and subscriber are four processes and share this machine.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const seconds = quick ? 10 : 60
  await using far = await startFarSide(new URL('./far-side/registers.ts', import.meta.url))
  await using house = await BenchHouse.open()
  await house.startAgent()
  const properties = Array.from({ length: REGISTERS }, (_, i) => ({
    name: `r${i}`,
    type: 'int',
    modbus: { holding: i },
  }))
  await house.createModel('fast', properties)
  for (let i = 0; i < DEVICES; i++) {
    await house.createDevice(`fast-${i}`, {
      model: 'fast',
      poll: { every: '1s' },
      ...addressOf(i, Number(far.ready['port'])),
    })
  }
  const ages: number[] = []
  let changes = 0
  let measuring = false
  const stop = await house.follow((events, atMs) => {
    if (!measuring) return
    for (const event of events) {
      if (event.kind !== 'reported' || typeof event.value !== 'number') continue
      changes++
      ages.push(ageOf(event.value, atMs))
    }
  })
  await pause(quick ? 5000 : 10_000)
  const processes = { agent: house.agentPid, 'cloud core': house.cloudPid }
  const before = await Promise.all(Object.values(processes).map(processorSeconds))
  measuring = true
  const startMs = performance.now()
  await pause(seconds * 1000)
  measuring = false
  const tookS = (performance.now() - startMs) / 1000
  const after = await Promise.all(Object.values(processes).map(processorSeconds))
  stop()
  const rate = changes / tookS
  const p99 = percentile(ages, 0.99)
  const figures: Figure[] = [
    {
      bench,
      figure: 'changes from the wire to a subscriber in the cloud',
      value: rate,
      unit: '1/s',
      peer: 'KubeEdge with its limiters taken out, recorded: at most 197/s (as shipped 1/s)',
      ratio: rate / 197,
      budget: `>= ${0.99 * RATE}, of ${RATE} asked for`,
      ok: rate >= 0.99 * RATE,
    },
    { bench, figure: 'from the wire to the subscriber, p50', value: percentile(ages, 0.5), unit: 'ms', ok: true },
    { bench, figure: 'from the wire to the subscriber, p99', value: p99, unit: 'ms', budget: '<= 50', ok: p99 <= 50 },
    {
      bench,
      figure: 'from the wire to the subscriber, worst',
      value: Math.max(0, percentile(ages, 1)),
      unit: 'ms',
      ok: true,
    },
  ]
  for (const [index, [name, pid]] of Object.entries(processes).entries()) {
    const share = ((after[index]! - before[index]!) / tookS) * 100
    figures.push(
      { bench, figure: `processor of the ${name} at ${RATE}/s`, value: share, unit: '% of a core', ok: true },
      { bench, figure: `memory of the ${name} at ${RATE}/s`, value: await residentMiB(pid), unit: 'MiB', ok: true },
    )
  }
  return figures
}
