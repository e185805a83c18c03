import { FakeMachine } from '../agent/energy/fake-machine.test-helper.ts'
import type { EnergySnapshot } from '../agent/energy/snapshot.ts'
import type { BenchOptions, Figure } from './harness.ts'

const bench = 'energy-truth'
const SECONDS = { quick: 300, all: 3600 }

/** A load that nobody would call steady, watts in a second. */
const watts = (s: number): number => 9 + 4 * Math.sin(s / 17) + (s % 60 < 20 ? 6 : 0)

type Second = (s: number, joules: number) => void

interface Trace {
  readonly what: string
  readonly furnish: (machine: FakeMachine) => Second
  /** Something that goes wrong in the middle. */
  readonly midway?: (machine: FakeMachine) => void
}

const uj = (joules: number): number => Math.round(joules * 1e6)

const TRACES: readonly Trace[] = [
  {
    what: 'RAPL counter that wraps',
    furnish: (machine) => {
      // The smallest range that processors have; it is about to wrap.
      const range = 65_532_610_987
      const at = (joules: number) => (range - 900e6 + uj(joules)) % range
      machine.zone('intel-rapl:0', 'psys', at(0), range)
      return (_, joules) => machine.zone('intel-rapl:0', 'psys', at(joules), range)
    },
  },
  {
    what: 'RAPL counter that starts anew',
    furnish: (machine) => {
      let fromJ = 0
      machine.zone('intel-rapl:0', 'psys', 0)
      return (s, joules) => {
        if (s % 1000 === 150) fromJ = joules
        machine.zone('intel-rapl:0', 'psys', uj(joules - fromJ))
      }
    },
  },
  {
    what: 'sleep of two hours',
    furnish: (machine) => {
      machine.zone('intel-rapl:0', 'psys', 0)
      return (_, joules) => machine.zone('intel-rapl:0', 'psys', uj(joules))
    },
    midway: (machine) => machine.sleep(7200),
  },
  {
    what: 'clock set back and forth by days',
    furnish: (machine) => {
      machine.zone('intel-rapl:0', 'psys', 0)
      return (s, joules) => {
        if (s % 50 === 0) machine.clock.jumpWall((s % 100 === 0 ? 3 : -3) * 86_400_000)
        machine.zone('intel-rapl:0', 'psys', uj(joules))
      }
    },
  },
  {
    what: 'battery with charge and a negative current',
    furnish: (machine) => {
      const volts = 12e6
      machine.supply('BAT0', {
        ...{ type: 'Battery', status: 'Discharging', present: 1, voltage_now: volts, charge_full: 9e6 },
      })
      return (s, joules) =>
        machine.supply('BAT0', {
          charge_now: Math.round(8e6 - (joules / 12 / 3600) * 1e6),
          current_now: -Math.round((watts(s) / 12) * 1e6),
        })
    },
  },
  {
    what: 'two packs',
    furnish: (machine) => {
      const names = ['BAT0', 'BAT1']
      for (const name of names)
        machine.supply(name, {
          type: 'Battery',
          status: 'Discharging',
          present: 1,
          energy_full: 40e6,
          energy_now: 30e6,
        })
      return (s) => {
        for (const [i, name] of names.entries())
          machine.supply(name, { power_now: Math.round(watts(s) * (i === 0 ? 0.7 : 0.3) * 1e6) })
      }
    },
  },
  {
    what: 'board sensor',
    furnish: (machine) => {
      machine.hwmon('hwmon0', { name: 'ina226' })
      return (s) => machine.hwmon('hwmon0', { power1_input: Math.round(watts(s) * 1e6) })
    },
  },
]

/** What the sums of the agent come to, beside the truth of the trace; and how the parts add up to the whole. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const seconds = quick ? SECONDS.quick : SECONDS.all
  const figures: Figure[] = []
  let worstSum = 0
  for (const trace of TRACES) {
    const { truthJ, snapshot } = await play(trace, seconds)
    const { measuredJ, estimatedJ } = snapshot.totals
    const error = Math.abs((measuredJ + estimatedJ) / truthJ - 1) * 100
    worstSum = Math.max(worstSum, Math.abs(partsOf(snapshot) - 1) * 100)
    figures.push({
      bench,
      figure: `error of integrated energy: ${trace.what}`,
      value: error,
      unit: '%',
      peer: 'the truth of the trace',
      budget: '<= 0.5 %',
      ok: error <= 0.5,
    })
  }
  figures.push({
    bench,
    figure: 'parts of the energy beside the whole, worst of all traces',
    value: worstSum,
    unit: '% off',
    peer: '100 %',
    budget: '<= 0.5 %',
    ok: worstSum <= 0.5,
  })
  return figures
}

async function play(
  { furnish, midway }: Trace,
  seconds: number,
): Promise<{ truthJ: number; snapshot: EnergySnapshot }> {
  await using machine = new FakeMachine()
  const each = furnish(machine)
  each(0, 0)
  let ownCpuS = 0
  const energy = machine.start({ ownCpuS: () => (ownCpuS += 0.03) })
  let truthJ = 0
  const second = (offset: number) => (s: number) => {
    truthJ += watts(offset + s)
    each(offset + s, truthJ)
  }
  const half = Math.floor(seconds / 2)
  await machine.run(half, second(0))
  midway?.(machine)
  await machine.run(seconds - half, second(half))
  return { truthJ, snapshot: energy.snapshot() }
}

/** All parts of the energy by the whole of it. */
function partsOf({ attribution }: EnergySnapshot): number {
  if (attribution === undefined) return Number.NaN
  const { whole, idle, rest, pods, slices, agent } = attribution
  const parts = [idle, rest, agent, ...pods, ...slices]
  return parts.reduce((sum, { joules }) => sum + joules, 0) / whole.joules
}
