import { describe, expect, test } from 'vitest'
import { FakeMachine } from './fake-machine.test-helper.ts'
import { load, stateOf, within } from './sample.test-helper.ts'

const RANGE = 262_143_328_850

describe('RAPL', () => {
  test('counts the whole machine through a wrap of psys, and does not add the zones that lie inside', async () => {
    await using machine = new FakeMachine()
    let truthJ = 0
    let psys = RANGE - 600e6
    const set = () => {
      machine.zone('intel-rapl:0', 'package-0', Math.round((psys * 0.6) % RANGE))
      machine.zone('intel-rapl:0:0', 'core', Math.round((psys * 0.4) % RANGE))
      machine.zone('intel-rapl:1', 'psys', Math.round(psys % RANGE))
    }
    set()
    const energy = machine.start()
    await machine.run(600, (s) => {
      psys += load(s) * 1e6
      truthJ += load(s)
      set()
    })
    const { totals, power, zones } = energy.snapshot()
    within(totals.measuredJ, truthJ)
    expect(totals.estimatedJ).toBe(0)
    expect(power).toMatchObject({ source: 'measured', by: 'rapl' })
    expect(zones.map(({ zone }) => zone).sort()).toEqual(['core', 'package', 'psys'])
  })

  test('adds two sockets, counts MMIO duplicates once, and estimates what the packages do not cover', async () => {
    await using machine = new FakeMachine()
    let uj = 5e9
    const set = () => {
      machine.zone('intel-rapl:0', 'package-0', Math.round(uj))
      machine.zone('intel-rapl:1', 'package-1', Math.round(uj * 2))
      machine.zone('intel-rapl:0:0', 'dram', Math.round(uj / 10))
      machine.zone('intel-rapl-mmio:0', 'package-0', Math.round(uj))
    }
    set()
    const energy = machine.start()
    let truthJ = 0
    await machine.run(120, (s) => {
      uj += load(s) * 1e6
      truthJ += 3 * load(s)
      set()
    })
    const { zones, power, totals, meters } = energy.snapshot()
    within(zones.find(({ zone }) => zone === 'package')!.joules, truthJ)
    expect(meters.some(({ meter }) => meter.includes('mmio'))).toBe(false)
    expect(power).toMatchObject({ source: 'estimated', by: 'rapl+model' })
    expect(power!.errorPercent).toBeGreaterThan(0)
    expect(totals.measuredJ).toBe(0)
    expect(totals.estimatedJ).toBeGreaterThan(truthJ)
  })

  test('takes an MMIO zone where the other driver is missing', async () => {
    await using machine = new FakeMachine()
    machine.zone('intel-rapl-mmio:0', 'package-0', 0)
    const energy = machine.start()
    await machine.run(10, (s) => machine.zone('intel-rapl-mmio:0', 'package-0', s * 5e6))
    expect(energy.snapshot().zones).toMatchObject([{ zone: 'package', joules: 50 }])
  })

  test('a counter that starts anew costs less than half a percent and is shown', async () => {
    await using machine = new FakeMachine()
    let uj = 80e9
    machine.zone('intel-rapl:0', 'psys', uj)
    const energy = machine.start()
    let truthJ = 0
    const second = (s: number) => {
      uj += load(s) * 1e6
      truthJ += load(s)
      machine.zone('intel-rapl:0', 'psys', Math.round(uj))
    }
    await machine.run(200, second)
    uj = 0
    await machine.run(1, (s) => second(200 + s))
    const bridged = energy.snapshot()
    expect(bridged.power).toMatchObject({ source: 'estimated', reason: 'The counter started anew' })
    await machine.run(200, (s) => second(201 + s))
    const { totals, power } = energy.snapshot()
    within(totals.measuredJ + totals.estimatedJ, truthJ)
    expect(power!.source).toBe('measured')
    expect(totals.estimatedJ).toBeGreaterThan(0)
    expect(totals.estimatedJ).toBeLessThan(12)
  })

  test('a sleep of hours adds nothing that was not counted, and says for how long nothing is known', async () => {
    await using machine = new FakeMachine()
    let uj = 20e9
    machine.zone('intel-rapl:0', 'psys', uj)
    const energy = machine.start()
    let truthJ = 0
    const second = (s: number) => {
      uj += load(s) * 1e6
      truthJ += load(s)
      machine.zone('intel-rapl:0', 'psys', Math.round(uj))
    }
    await machine.run(300, second)
    machine.sleep(4 * 3600)
    uj = 0
    await machine.run(300, (s) => second(300 + s))
    const { totals, energy: status } = energy.snapshot()
    within(totals.measuredJ + totals.estimatedJ, truthJ)
    expect(totals.unknownS).toBeCloseTo(4 * 3600, -1)
    expect(status!.reason).toMatch(/14\d\d\d s are not known/)
  })

  test('a wall clock that jumps by days changes no energy', async () => {
    await using machine = new FakeMachine()
    machine.zone('intel-rapl:0', 'psys', 0)
    const energy = machine.start()
    let uj = 0
    await machine.run(100, (s) => {
      uj += 7e6
      machine.zone('intel-rapl:0', 'psys', uj)
      if (s % 10 === 0) machine.clock.jumpWall((s % 20 === 0 ? 1 : -1) * 86_400_000 * 3)
    })
    const { totals, energy: status } = energy.snapshot()
    within(totals.measuredJ, 700)
    expect(totals.unknownS).toBe(0)
    expect(status!.sinceBootJ).toBeCloseTo(700, 0)
  })

  test('that may not be read is forbidden, with the remedy, and never zero', async () => {
    await using machine = new FakeMachine()
    machine.zone('intel-rapl:0', 'psys', 1e9)
    const { chmodSync } = await import('node:fs')
    chmodSync(`${machine.root}/sys/class/powercap/intel-rapl:0/energy_uj`, 0o400)
    chmodSync(machine.root, 0o755)
    const root = process.geteuid?.() === 0
    if (root) process.seteuid?.(65_534)
    else chmodSync(`${machine.root}/sys/class/powercap/intel-rapl:0/energy_uj`, 0)
    try {
      const probe = new (await import('./rapl.ts')).RaplSource(machine.roots)
      probe.discover()
      const { emptySample } = await import('./sample.test-helper.ts')
      const sample = emptySample()
      probe.sample(sample)
      expect(sample.meters).toEqual([])
      const health = stateOf(probe.health(), 'rapl')
      expect(health).toMatchObject({ state: 'forbidden' })
      expect(health!.remedy).toMatch(/CAP_DAC_READ_SEARCH/)
    } finally {
      if (root) process.seteuid?.(0)
    }
  })

  test.each(['', 'nonsense', '-5', '99999999999999999999', '0x10', '1e6'])(
    'a counter that says %j gives no figure',
    async (text) => {
      await using machine = new FakeMachine()
      machine.zone('intel-rapl:0', 'psys', 1e9)
      const energy = machine.start()
      await machine.run(5, (s) => machine.zone('intel-rapl:0', 'psys', 1e9 + s * 5e6))
      const good = energy.snapshot().totals.measuredJ
      await machine.run(20, () => machine.write('sys/class/powercap/intel-rapl:0/energy_uj', text))
      const { totals, power, sources } = energy.snapshot()
      expect(totals.measuredJ).toBe(good)
      expect(power).toMatchObject({ source: 'estimated', by: 'model' })
      expect(stateOf(sources, 'rapl')).toMatchObject({ state: 'faulty' })
    },
  )
})

describe('batteries', () => {
  /** Drains `capacityWh` at `load`; returns what was drawn. */
  const chargeOnly = (machine: FakeMachine, chargeUah: number, watts: number, sign: 1 | -1 = 1) =>
    machine.supply('BAT0', {
      type: 'Battery',
      status: 'Discharging',
      charge_now: Math.round(chargeUah),
      charge_full: 5_000_000,
      voltage_now: 11_400_000,
      voltage_min_design: 11_400_000,
      current_now: sign * Math.round((watts / 11.4) * 1e6),
    })

  test.each([
    ['a magnitude', 1],
    ['a negative current', -1],
  ] as const)('with charge only and %s: power, energy and percentage come out right', async (_, sign) => {
    await using machine = new FakeMachine()
    let chargeUah = 4_000_000
    chargeOnly(machine, chargeUah, load(0), sign)
    const energy = machine.start()
    let truthJ = 0
    await machine.run(900, (s) => {
      const watts = load(s)
      truthJ += (watts + load(s - 1)) / 2
      chargeUah -= (watts / 11.4 / 3600) * 1e6
      chargeOnly(machine, chargeUah, watts, sign)
    })
    const { totals, battery, power } = energy.snapshot()
    within(totals.measuredJ, truthJ)
    expect(power).toMatchObject({ source: 'measured', by: 'battery', supply: 'battery' })
    expect(battery).toMatchObject({ state: 'discharging', source: 'measured' })
    within(battery!.watts!, -load(900))
    within(battery!.energyJ!, chargeUah * 1e-6 * 11.4 * 3600)
    within(battery!.percent!, (chargeUah / 5_000_000) * 100)
  })

  test('two packs of different size add by energy, not by percentage', async () => {
    await using machine = new FakeMachine()
    const pack = (name: string, now: number, full: number, watts: number, status: string) =>
      machine.supply(name, {
        type: 'Battery',
        status,
        energy_now: Math.round(now),
        energy_full: full,
        power_now: Math.round(watts * 1e6),
        capacity: Math.round((now / full) * 100),
        cycle_count: 12,
      })
    pack('BAT0', 10_000_000, 20_000_000, 4, 'Discharging')
    pack('BAT1', 70_000_000, 80_000_000, 2, 'Discharging')
    machine.supply('mouse', { type: 'Battery', scope: 'Device', status: 'Discharging', capacity: 3 })
    machine.supply('AC', { type: 'Mains', online: 0 })
    const energy = machine.start()
    let now = 10_000_000
    await machine.run(600, () => {
      now -= (4 / 3600) * 1e6
      pack('BAT0', now, 20_000_000, 4, 'Discharging')
      pack('BAT1', 70_000_000, 80_000_000, 2, 'Discharging')
    })
    const { battery, totals, packs } = energy.snapshot()
    expect(battery).toMatchObject({ packs: 2, state: 'discharging', watts: -6, fullJ: 360_000, cycles: 12 })
    within(battery!.percent!, ((now + 70_000_000) / 100_000_000) * 100)
    within(totals.measuredJ, 3600)
    expect(packs.map(({ name }) => name)).toEqual(['BAT0', 'BAT1'])
  })

  test('on mains its power is not the machine’s', async () => {
    await using machine = new FakeMachine()
    machine.supply('AC', { type: 'Mains', online: 1 })
    machine.supply('BAT0', {
      type: 'Battery',
      status: 'Charging',
      energy_now: 1e7,
      energy_full: 2e7,
      power_now: 9_000_000,
    })
    const energy = machine.start()
    await machine.run(10, () => undefined)
    const { power, battery } = energy.snapshot()
    expect(power).toMatchObject({ by: 'model', source: 'estimated', supply: 'mains' })
    expect(battery).toMatchObject({ state: 'charging', watts: 9 })
  })

  test('a sleep on battery is measured by what the pack lost', async () => {
    await using machine = new FakeMachine()
    let energyUwh = 40_000_000
    const set = (watts: number) =>
      machine.supply('BAT0', {
        type: 'Battery',
        status: 'Discharging',
        energy_now: Math.round(energyUwh),
        energy_full: 50_000_000,
        power_now: Math.round(watts * 1e6),
      })
    set(8)
    const energy = machine.start()
    const second = () => {
      energyUwh -= (8 / 3600) * 1e6
      set(8)
    }
    await machine.run(300, second)
    machine.sleep(7200)
    energyUwh -= ((0.5 * 7200) / 3600) * 1e6
    await machine.run(300, second)
    const { totals } = energy.snapshot()
    within(totals.measuredJ, 600 * 8 + 0.5 * 7200)
    expect(totals.unknownS).toBe(0)
  })

  test('that only shows a percentage has no power, and no power is invented', async () => {
    await using machine = new FakeMachine()
    machine.supply('ups', { type: 'UPS', status: 'Discharging', capacity: 81 })
    const energy = machine.start()
    await machine.run(20, () => undefined)
    const { battery, power } = energy.snapshot()
    expect(battery).toMatchObject({ percent: 81, state: 'discharging' })
    expect(battery).not.toHaveProperty('watts')
    expect(battery).not.toHaveProperty('energyJ')
    expect(power!.by).toBe('model')
  })

  test('that only shows a percentage has the energy that the gateway was told', async () => {
    await using machine = new FakeMachine()
    machine.supply('ups', { type: 'UPS', status: 'Discharging', capacity: 50 })
    const energy = machine.start({ config: { capacityJ: 100_000 } })
    await machine.run(5, () => undefined)
    expect(energy.snapshot().battery).toMatchObject({ energyJ: 50_000, fullJ: 100_000 })
  })

  test('that is taken out while the agent runs is gone, and comes back when it is put in again', async () => {
    await using machine = new FakeMachine()
    const attributes = {
      type: 'Battery',
      status: 'Discharging',
      present: 1,
      energy_now: 3e7,
      energy_full: 5e7,
      power_now: 5e6,
    }
    machine.supply('BAT0', attributes)
    const energy = machine.start()
    await machine.run(3, () => undefined)
    expect(energy.snapshot().battery?.state).toBe('discharging')
    machine.write('sys/class/power_supply/BAT0/present', 0)
    await machine.run(3, () => undefined)
    expect(energy.snapshot().battery).toBeUndefined()
    machine.write('sys/class/power_supply/BAT0/present', 1)
    await machine.run(3, () => undefined)
    expect(energy.snapshot().battery?.state).toBe('discharging')
    machine.remove('sys/class/power_supply/BAT0')
    await machine.run(61, () => undefined)
    expect(energy.snapshot().battery).toBeUndefined()
    expect(stateOf(energy.snapshot().sources, 'battery')).toMatchObject({ state: 'absent' })
  })
})
