import { setTimeout as pause } from 'node:timers/promises'
import { addressOf, BenchHouse } from './far-side/house.ts'
import { startFarSide } from './far-side/process.ts'
import { type BenchOptions, type Figure, percentile, processorSeconds, residentMiB } from './harness.ts'

const bench = 'modbus-memory'
const DEVICES = 100
const REGISTERS = 10

/**
 * Resident memory of the published agent with everything it carries in a plant: 100 devices on Modbus TCP connections of
 * their own, 10 registers each, all of which change every second, and its link to a real cloud core. It has been started
 * anew with the devices it holds, as after a reboot.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const seconds = quick ? 15 : 60
  await using far = await startFarSide(new URL('./far-side/registers.ts', import.meta.url))
  await using house = await BenchHouse.open()
  const properties = Array.from({ length: REGISTERS }, (_, i) => ({
    name: `r${i}`,
    type: 'int',
    modbus: { holding: i },
  }))
  await house.createModel('plant', properties)
  for (let i = 0; i < DEVICES; i++) {
    const spec = { model: 'plant', poll: { every: '1s' }, ...addressOf(i, Number(far.ready['port'])) }
    await house.createDevice(`plant-${i}`, spec)
  }
  const seen = new Set<string>()
  let changes = 0
  const stop = await house.follow((events) => {
    changes += events.length
    for (const event of events) if (event.kind !== 'gateway') seen.add(event.device)
  })
  await house.startAgent()
  while (seen.size < DEVICES) await pause(50)
  await house.stopAgent()
  await house.startAgent()
  await pause(5000)
  const [changesBefore, startMs] = [changes, performance.now()]
  const before = await processorSeconds(house.agentPid)
  const sample: number[] = []
  for (let second = 0; second < seconds; second++) {
    await pause(1000)
    sample.push(await residentMiB(house.agentPid))
  }
  const tookS = (performance.now() - startMs) / 1000
  const share = (((await processorSeconds(house.agentPid)) - before) / tookS) * 100
  stop()
  const what = `${DEVICES} Modbus TCP devices, ${DEVICES * REGISTERS} changes/s`
  const memory = percentile(sample, 0.9)
  return [
    {
      bench,
      figure: `resident memory of the agent, ${what}, p90`,
      value: memory,
      unit: 'MiB',
      peer: 'KubeEdge EdgeCore, recorded: device part alone, idle, without any mapper, 70 MB',
      ratio: memory / (70 / 1.048576),
      budget: '<= 70 MiB',
      ok: memory <= 70,
    },
    {
      bench,
      figure: `resident memory of the agent, ${what}, p50`,
      value: percentile(sample, 0.5),
      unit: 'MiB',
      ok: true,
    },
    { bench, figure: `processor of the agent, ${what}`, value: share, unit: '% of a core', ok: true },
    {
      bench,
      figure: `changes at a subscriber, ${what}`,
      value: (changes - changesBefore) / tookS,
      unit: '1/s',
      ok: true,
    },
  ]
}
