import { setTimeout as pause } from 'node:timers/promises'
import type { StreamEvent } from '../api/views.ts'
import { addressOf, BenchHouse } from './far-side/house.ts'
import { liveOffline } from './far-side/offline-day.ts'
import { startFarSide } from './far-side/process.ts'
import { ageOf, type BenchOptions, type Figure, percentile, residentMiB } from './harness.ts'

const bench = 'offline-drain'
const DEVICE_COUNT = 10
const REGISTERS = 10
const LIVE_RATE = DEVICE_COUNT * REGISTERS
/** How often the memory of the processes is looked at while they drain. */
const LOOK_MS = 200

/** Holds what comes out of the cloud's stream against what went into the outbox: the numbers 0, 1, 2 ... of every property. */
class Ledger {
  backlog = 0
  misplaced = 0
  firstMs = 0
  lastMs = 0
  readonly ages: number[] = []
  readonly #next = new Map<string, number>()
  readonly #untilMs: number

  constructor(untilMs: number) {
    this.#untilMs = untilMs
  }

  take(events: readonly StreamEvent[], atMs: number): void {
    for (const event of events) {
      if (event.kind !== 'reported' || typeof event.value !== 'number') continue
      if (event.backfill !== true) this.ages.push(ageOf(event.value, atMs))
      // What the agent recorded between its start and its link is back-fill too, but not of that day.
      else if (Date.parse(event.at) < this.#untilMs)
        this.#takeOld(`${event.device} ${event.property}`, event.value, atMs)
    }
  }

  #takeOld(key: string, value: number, atMs: number): void {
    if (this.backlog === 0) this.firstMs = atMs
    this.lastMs = atMs
    this.backlog++
    // Missing, doubled and out of order alike break the row.
    if (value !== (this.#next.get(key) ?? 0)) this.misplaced++
    this.#next.set(key, value + 1)
  }
}

/**
 * A gateway with 100 values a second was away for a day (quick: an hour), simulated into the outbox by the agent's own
 * code. Then the bundled agent starts, its devices go on changing, and a subscriber of the cloud core's stream counts.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const awaySeconds = quick ? 3600 : 86_400
  await using far = await startFarSide(new URL('./far-side/registers.ts', import.meta.url))
  await using house = await BenchHouse.open()
  const properties = Array.from({ length: REGISTERS }, (_, i) => `r${i}`)
  await house.createModel(
    'plant',
    properties.map((name, i) => ({ name, type: 'int', modbus: { holding: i } })),
  )
  const names = Array.from({ length: DEVICE_COUNT }, (_, i) => `plant-${i}`)
  for (const [i, name] of names.entries()) {
    await house.createDevice(name, {
      model: 'plant',
      poll: { every: '1s' },
      ...addressOf(i, Number(far.ready['port'])),
    })
  }
  const seen = new Set<string>()
  const stopFirst = await house.follow((events) => {
    for (const event of events) if (event.kind !== 'gateway') seen.add(event.device)
  })
  await house.startAgent()
  while (seen.size < DEVICE_COUNT) await pause(50)
  await house.stopAgent()
  stopFirst()

  const untilMs = Date.now()
  const devices = names.map((name) => `default/${name}`)
  const stored = await liveOffline(house.agentData, devices, properties, untilMs - awaySeconds * 1000, untilMs)
  const ledger = new Ledger(untilMs)
  const stop = await house.follow((events, atMs) => ledger.take(events, atMs))
  await house.startAgent()
  const most = { agent: 0, cloud: 0 }
  const values = awaySeconds * LIVE_RATE
  for (let stillMs = 0, before = 0; ledger.backlog < values && stillMs < 30_000; before = ledger.backlog) {
    await pause(LOOK_MS)
    most.agent = Math.max(most.agent, await residentMiB(house.agentPid))
    most.cloud = Math.max(most.cloud, await residentMiB(house.cloudPid))
    stillMs = ledger.backlog === before ? stillMs + LOOK_MS : 0
  }
  const during = ledger.ages.length
  const rate = ledger.backlog / ((ledger.lastMs - ledger.firstMs) / 1000)
  const live = ledger.ages.slice(0, during)
  await pause(1000)
  stop()
  const missing = values - ledger.backlog
  const p99 = percentile(live, 0.99)
  return [
    {
      bench,
      figure: `values of ${awaySeconds / 3600} h at ${LIVE_RATE}/s lost, doubled or out of order, of ${values}`,
      value: Math.abs(missing) + ledger.misplaced + stored.dropped,
      unit: '',
      peer: 'KubeEdge, recorded: every value of a 60 s cut lost, and 250 to 290 more after it',
      budget: '0',
      ok: missing === 0 && ledger.misplaced === 0 && stored.dropped === 0,
    },
    {
      bench,
      figure: 'drained beside the live data',
      value: rate,
      unit: 'values/s',
      peer: `the live rate, ${LIVE_RATE}/s`,
      ratio: rate / LIVE_RATE,
      budget: '>= 20 of peer',
      ok: rate >= 20 * LIVE_RATE,
    },
    {
      bench,
      figure: 'live data during the drain, wire to subscriber, p99',
      value: p99,
      unit: 'ms',
      budget: '<= 100',
      ok: p99 <= 100,
    },
    { bench, figure: 'live values seen during the drain', value: live.length, unit: '', ok: true },
    { bench, figure: 'outbox before the drain', value: stored.outboxBytes / 2 ** 20, unit: 'MiB', ok: true },
    { bench, figure: 'memory of the agent, highest during the drain', value: most.agent, unit: 'MiB', ok: true },
    { bench, figure: 'memory of the cloud core, highest during the drain', value: most.cloud, unit: 'MiB', ok: true },
  ]
}
