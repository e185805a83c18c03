import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../api/clock.ts'
import type { DeviceModelSpec } from '../api/resources.ts'
import { createMapper } from '../mappers/modbus/mapper.ts'
import { startFarSide } from './far-side/process.ts'
import { type BenchOptions, type Figure, significant } from './harness.ts'

const bench = 'modbus-dead-unit'
const unitCount = 10
const deadUnit = 5
const least = 0.95
const registers = 10
const settleMs = 2500

interface Case {
  readonly baud: number
  readonly every: string
  readonly what: string
}

/**
 * Two equal lines of ten units each, read by the mapper at the same time, so that whatever else the machine does hits
 * both. On one of them a unit dies; the readings of its nine neighbours from that moment on are held against those of the
 * same nine on the healthy line. Finding out that the unit is dead is part of the price.
 * Once with time to spare on the line, once with more asked than the line can carry.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const easy = { every: '1s', what: 'line half used' }
  const full = { every: '200ms', what: 'line asked for more than it carries' }
  const bauds = quick ? [9600] : [9600, 19_200]
  const cases = bauds.flatMap((baud) => [
    { baud, ...easy },
    { baud, ...full },
  ])
  return Promise.all(cases.map((one) => measure(one, quick ? 28_000 : 60_000)))
}

async function measure({ baud, every, what }: Case, durationMs: number): Promise<Figure> {
  await using healthy = await pollLine(baud, every, Number.POSITIVE_INFINITY)
  await using sick = await pollLine(baud, every, settleMs)
  await sleep(settleMs)
  const from = { healthy: healthy.good(), sick: sick.good() }
  await sleep(durationMs)
  const survived = sick.good() - from.sick
  const ratio = survived / (healthy.good() - from.healthy)
  return {
    bench,
    figure: `${baud} baud, ${what}: readings of nine units in the ${durationMs / 1000} s after the tenth died`,
    value: significant((survived * 1000) / durationMs),
    unit: 'readings/s',
    peer: 'the same nine beside a living tenth',
    ratio: significant(ratio),
    budget: `>= ${least} of peer`,
    ok: ratio >= least,
  }
}

interface PolledLine extends AsyncDisposable {
  /** Good readings so far of all units but the one that dies. */
  good(): number
}

async function pollLine(baud: number, every: string, diesAfterMs: number): Promise<PolledLine> {
  const script = new URL('far-side/rtu-units.ts', import.meta.url)
  const farSide = await startFarSide(script, [baud, unitCount, deadUnit, diesAfterMs].map(String))
  const port = String(farSide.ready['path'])
  let good = 0
  const mapper = createMapper({
    clock: systemClock,
    random: Math.random,
    readings: (batch) => {
      for (const { device, quality } of batch) if (quality === 'good' && device !== `bench/unit-${deadUnit}`) good++
    },
    reachability: () => undefined,
    event: () => {},
    writeNews: () => {},
    log: () => undefined,
  })
  const model: DeviceModelSpec = {
    properties: Array.from({ length: registers }, (_, index) => ({
      name: `r${index}`,
      type: 'int' as const,
      modbus: { holding: index },
    })),
  }
  mapper.configure(
    Array.from({ length: unitCount }, (_, index) => {
      const modbus = { rtu: { port, baud, stopBits: 2 }, unit: index + 1 }
      return { key: `bench/unit-${index + 1}`, device: { model: 'm', modbus, poll: { every } }, model, revision: '1' }
    }),
  )
  return {
    good: () => good,
    async [Symbol.asyncDispose]() {
      await mapper[Symbol.asyncDispose]()
      await farSide[Symbol.asyncDispose]()
    },
  }
}
