import { live, type Outcome, playFrom, summary } from '../test/energy/recorded.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'battery-forecast'
/** Discharges by which nothing was set: `test/energy/discharges/README.md`. */
const SEEDS = { from: 11, quick: 16, all: 30 }

/**
 * How far off the time to empty is over the last half of discharges: recorded ones of real machines, and simulated gateways
 * whose cells sag, age and freeze, whose gauges step and lie, and whose loads are of four kinds. A budget stands where the
 * load can be known from what it was; the others are told as they are.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const seeds = Array.from({ length: (quick ? SEEDS.quick : SEEDS.all) - SEEDS.from + 1 }, (_, i) => SEEDS.from + i)
  const lives = (kind: Parameters<typeof live>[1], turn: number) => summary(seeds.map((seed) => live(seed, kind, turn)))
  return [
    ...figures('recorded, a telephone on a table', playFrom('librem5-2'), true),
    ...figures('recorded, a Raspberry Pi on a UPS board', playFrom('pi-ups-2'), true),
    ...figures('recorded, the same after one discharge', playFrom('pi-ups-2', 'pi-ups-1'), true),
    ...figures('recorded, its first with a gauge at 1 % for hours', playFrom('pi-ups-1'), false),
    ...figures('recorded, a laptop in use', playFrom('thinkpad-2', 'thinkpad-1'), false),
    ...figures('simulated, duty cycle, fourth discharge', lives('duty', 4), true),
    ...figures('simulated, daily habits, fourth discharge', lives('daily', 4), true),
    ...figures('simulated, jobs at random, fourth discharge', lives('bursty', 4), false),
    ...figures('simulated, restless, fourth discharge', lives('restless', 4), false),
    ...figures('simulated, duty cycle, first discharge ever', lives('duty', 1), false),
  ]
}

function figures(what: string, outcome: ReturnType<typeof summary> | Outcome, knowable: boolean): Figure[] {
  const { meanError, worstError, within, covered } = outcome
  const percent = (share: number) => (share * 100).toFixed(0)
  return [
    {
      bench,
      figure: `mean error of time to empty, ${what} (worst ${percent(worstError)} %, within 10 % in ${percent(within)} % of minutes)`,
      value: meanError * 100,
      unit: '%',
      ...(knowable ? { budget: '<= 10 %' } : {}),
      ok: !knowable || meanError <= 0.1,
    },
    {
      bench,
      figure: `minutes whose interval held the truth, ${what}`,
      value: covered * 100,
      unit: '%',
      ...(knowable ? { budget: '>= 85 %' } : {}),
      ok: !knowable || covered >= 0.85,
    },
  ]
}
