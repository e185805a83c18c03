import { describe, expect, test } from 'vitest'
import { FakeMachine } from './fake-machine.test-helper.ts'
import { load, stateOf, within } from './sample.test-helper.ts'

describe('hardware monitors', () => {
  test('an INA219 is found by its name, and its power is the machine’s', async () => {
    await using machine = new FakeMachine()
    machine.hwmon('hwmon0', { name: 'cpu_thermal', temp1_input: 48_312 })
    machine.hwmon('hwmon3', {
      name: 'ina219',
      in1_input: 5080,
      curr1_input: 812,
      power1_input: Math.round(load(0) * 1e6),
    })
    const energy = machine.start()
    let truthJ = 0
    await machine.run(600, (s) => {
      truthJ += (load(s) + load(s - 1)) / 2
      machine.hwmon('hwmon3', { power1_input: Math.round(load(s) * 1e6) })
    })
    const { totals, power, thermal } = energy.snapshot()
    within(totals.measuredJ, truthJ)
    expect(power).toMatchObject({ by: 'hwmon:ina219', source: 'measured' })
    expect(thermal).toMatchObject({ celsius: 48.3, throttled: false })
  })

  test('of an INA3221 the channel that is labelled as the input is the whole, the others are parts', async () => {
    await using machine = new FakeMachine()
    machine.hwmon('hwmon1', {
      name: 'ina3221',
      in1_label: 'VDD_IN',
      in1_input: 5000,
      curr1_input: 1200,
      in2_label: 'VDD_CPU_GPU_CV',
      in2_input: 5000,
      curr2_input: 300,
      in3_label: 'VDD_SOC',
      in3_input: 5000,
      curr3_input: 200,
      in3_enable: 0,
    })
    const energy = machine.start()
    await machine.run(10, () => undefined)
    const { power, meters } = energy.snapshot()
    expect(power).toMatchObject({ watts: 6, by: 'hwmon:ina3221' })
    expect(meters.map(({ meter, covers }) => [meter.split('/')[1], covers])).toEqual([
      ['VDD_IN', 'machine'],
      ['VDD_CPU_GPU_CV', 'part'],
    ])
  })

  test('of two sensors without a label nobody knows which is the whole, so neither is', async () => {
    await using machine = new FakeMachine()
    machine.hwmon('hwmon1', { name: 'ina226', power1_input: 3_000_000 })
    machine.hwmon('hwmon2', { name: 'ina260', power1_input: 2_000_000 })
    const energy = machine.start()
    await machine.run(5, () => undefined)
    const { power, meters } = energy.snapshot()
    expect(power!.by).toBe('model')
    expect(meters.map(({ watts }) => watts)).toEqual([3, 2])
  })

  test('the ACPI power meter is found where old and new kernels put it', async () => {
    for (const file of ['power1_average', 'device/power1_average']) {
      await using machine = new FakeMachine()
      machine.hwmon('hwmon0', { name: 'power_meter', [file]: 42_500_000 })
      const energy = machine.start()
      await machine.run(5, () => undefined)
      expect(energy.snapshot().power).toMatchObject({ watts: 42.5, by: 'hwmon:power_meter' })
    }
  })

  test('a sensor that says a negative power is faulty, and the model steps in', async () => {
    await using machine = new FakeMachine()
    machine.hwmon('hwmon1', { name: 'ina219', power1_input: -900_000 })
    const energy = machine.start()
    await machine.run(5, () => undefined)
    const { power, sources } = energy.snapshot()
    expect(power!.by).toBe('model')
    expect(stateOf(sources, 'hwmon')).toMatchObject({ state: 'faulty' })
  })

  test('under-voltage and the firmware’s throttling of a Raspberry Pi are reasons, not numbers', async () => {
    await using machine = new FakeMachine()
    machine.hwmon('hwmon0', { name: 'rpi_volt', in0_lcrit_alarm: 1 })
    machine.write('sys/devices/platform/soc/soc:firmware/get_throttled', '50005')
    machine.write('sys/class/thermal/thermal_zone0/type', 'cpu-thermal')
    machine.write('sys/class/thermal/thermal_zone0/temp', '81250')
    const energy = machine.start()
    await machine.run(3, () => undefined)
    expect(energy.snapshot().thermal).toMatchObject({
      celsius: 81.3,
      throttled: true,
      reasons: ['under-voltage', 'throttled by the firmware'],
    })
  })
})

describe('a machine without any sensor', () => {
  test('says that its power is estimated, from what, and how far off it may be', async () => {
    await using machine = new FakeMachine()
    machine.write('proc/device-tree/model', 'Raspberry Pi 4 Model B Rev 1.5')
    const energy = machine.start()
    await machine.run(60, () => undefined, 4)
    const { power, totals, thermal, battery } = energy.snapshot()
    expect(power).toMatchObject({ source: 'estimated', by: 'model', errorPercent: 20, supply: 'unknown' })
    within(power!.watts, 6.4, 1)
    expect(power!.reason).toMatch(/Pi Dramble/)
    expect(totals.measuredJ).toBe(0)
    expect(thermal).toBeUndefined()
    expect(battery).toBeUndefined()
  })
})
