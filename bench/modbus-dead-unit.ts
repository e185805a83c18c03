import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../api/clock.ts'
import type { DeviceModelSpec } from '../api/resources.ts'
import { createMapper } from '../mappers/modbus/mapper.ts'
import { startFarSide } from './far-side/process.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'modbus-dead-unit'
const unitCount = 10
const deadUnit = 5
const least = 0.95
const registers = 10

interface Case {
  readonly baud: number
  readonly every: string
  readonly what: string
}

/**
 * Ten units on one paced line, read by the mapper; one dies while they are being polled. Counts the readings of the other
 * nine for a while before and for a while from that very moment on, so finding out that it is dead is part of the price.
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
  const [beforeMs, afterMs] = quick ? [8000, 24_000] : [20_000, 60_000]
  return Promise.all(cases.map((one) => measure(one, beforeMs, afterMs)))
}

async function measure({ baud, every, what }: Case, beforeMs: number, afterMs: number): Promise<Figure> {
  await using line = await startFarSide('rtu-units.ts', [String(baud), String(unitCount)])
  const port = String(line.ready['path'])
  let good = 0
  await using mapper = createMapper({
    clock: systemClock,
    random: Math.random,
    readings: (batch) => {
      for (const { device, quality } of batch) if (quality === 'good' && device !== `bench/unit-${deadUnit}`) good++
    },
    reachability: () => undefined,
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
  await sleep(2500)
  const rateOver = async (durationMs: number) => {
    const from = good
    const start = performance.now()
    await sleep(durationMs)
    return ((good - from) * 1000) / (performance.now() - start)
  }
  const healthy = await rateOver(beforeMs)
  await line.ask({ silent: [deadUnit] })
  const sick = await rateOver(afterMs)
  const ratio = sick / healthy
  return {
    bench,
    figure: `${baud} baud, ${what}: readings of nine units in the ${afterMs / 1000} s after the tenth died`,
    value: sick,
    unit: 'readings/s',
    peer: 'the same nine before',
    ratio,
    budget: `>= ${least} of peer`,
    ok: ratio >= least,
  }
}
