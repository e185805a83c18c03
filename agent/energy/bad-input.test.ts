import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DeviceLoad } from './energy.ts'
import { FakeMachine } from './fake-machine.test-helper.ts'
import type { EnergySnapshot } from './snapshot.ts'

const BATTERY = {
  type: 'Battery',
  status: 'Discharging',
  present: 1,
  capacity: 70,
  energy_now: 30_000_000,
  energy_full: 43_000_000,
  power_now: 7_000_000,
  voltage_now: 3_900_000,
  temp: 250,
}

/** Files that any of the sources reads, and what is right for each. */
const FILES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(BATTERY).map(([name, value]) => [`sys/class/power_supply/BAT0/${name}`, `${value}`]),
  ),
  'sys/class/powercap/intel-rapl:0/energy_uj': '123456789',
  'sys/class/powercap/intel-rapl:0/name': 'package-0',
  'sys/class/hwmon/hwmon0/name': 'ina226',
  'sys/class/hwmon/hwmon0/power1_input': '4200000',
  'sys/class/thermal/thermal_zone0/type': 'cpu',
  'sys/class/thermal/thermal_zone0/temp': '47000',
  'sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq': '1800000',
}

function furnish(machine: FakeMachine): void {
  machine.zone('intel-rapl:0', 'package-0', 123_456_789)
  for (const [path, value] of Object.entries(FILES)) machine.write(path, value)
}

/** Nothing that is shown may be a figure that nobody could have meant. */
function check({ power, energy, battery, totals, meters, packs, attribution, zones }: EnergySnapshot): void {
  const amounts = [
    ...[power?.watts, energy?.todayJ, energy?.sinceBootJ, totals.measuredJ, totals.estimatedJ, totals.unknownS],
    ...[battery?.percent, battery?.energyJ, battery?.timeToEmpty?.seconds, battery?.timeToEmpty?.highSeconds],
    ...meters.flatMap(({ watts, joules }) => [watts, joules]),
    ...zones.flatMap(({ watts, joules }) => [watts, joules]),
    ...packs.flatMap(({ percent, energyJ, fullJ }) => [percent, energyJ, fullJ]),
    ...(attribution?.pods ?? []).flatMap(({ watts, joules }) => [watts, joules]),
  ]
  for (const amount of amounts) {
    if (amount === undefined) continue
    expect(Number.isFinite(amount) && amount >= 0).toBe(true)
  }
  if (battery?.percent !== undefined) expect(battery.percent).toBeLessThanOrEqual(100)
}

describe('whatever the kernel’s files do', () => {
  test('nothing crashes, no number is invented, energy never runs backwards, and all is well again afterwards', async () => {
    const wrong = fc.oneof(
      fc.constantFrom(
        '',
        '-1',
        '-7000000',
        'NaN',
        '0x10',
        '1e400',
        '99999999999999999999',
        'Unknown',
        '12 34',
        '\u0000',
        '∞',
      ),
      fc.constant(undefined),
      fc.string({ maxLength: 20 }),
    )
    const turn = fc.record({
      path: fc.constantFrom(...Object.keys(FILES)),
      value: wrong,
      jumpDays: fc.integer({ min: -400, max: 400 }),
      sleeps: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(turn, { minLength: 1, maxLength: 12 }), async (turns) => {
        await using machine = new FakeMachine()
        furnish(machine)
        const energy = machine.start()
        await machine.run(5, () => {})
        let countedJ = 0
        for (const { path, value, jumpDays, sleeps } of turns) {
          // An attribute that is gone says nothing to whoever has it open; a file in memory would still say what it said.
          machine.write(path, value ?? '')
          if (value === undefined) machine.remove(path)
          machine.clock.jumpWall(jumpDays * 86_400_000)
          if (sleeps) machine.sleep(3600)
          await machine.run(3, () => {})
          const snapshot = energy.snapshot()
          check(snapshot)
          const { measuredJ, estimatedJ } = snapshot.totals
          expect(measuredJ + estimatedJ).toBeGreaterThanOrEqual(countedJ)
          countedJ = measuredJ + estimatedJ
        }
        furnish(machine)
        // Sources look for what is new once a minute.
        await machine.run(130, () => {})
        const { battery, power, sources } = energy.snapshot()
        expect(battery).toMatchObject({ percent: 70, state: 'discharging' })
        expect(power?.source).toBe('measured')
        expect(sources.filter(({ state }) => state === 'faulty')).toEqual([])
      }),
      { numRuns: 40 },
    )
  })
})

test('ten thousand devices share what the agent took, and add up to it', async () => {
  await using machine = new FakeMachine()
  furnish(machine)
  let seconds = 0
  const loads = (): DeviceLoad[] =>
    Array.from({ length: 10_000 }, (_, i) => ({
      mapper: i % 2 === 0 ? 'modbus' : 'mqtt',
      device: `plant/d${i}`,
      busyS: seconds * 1e-5,
      reads: seconds * (i % 7),
      bytes: seconds * 100,
    }))
  let ownCpuS = 0
  const energy = machine.start({ deviceLoads: loads, ownCpuS: () => (ownCpuS += 0.02) })
  await machine.run(60, (s) => void (seconds = s))
  const { agent } = energy.snapshot().attribution!
  const devices = agent.mappers.flatMap((mapper) => mapper.devices)
  expect(devices).toHaveLength(10_000)
  const sum = agent.own.joules + devices.reduce((all, { joules }) => all + joules, 0)
  expect(Math.abs(sum / agent.joules - 1)).toBeLessThan(0.005)
})
