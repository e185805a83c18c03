import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec, Json } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { protocols } from '../../mappers/registry.ts'
import type { DeviceBinding, Reading } from '../../mappers/sdk/mapper.ts'
import type { AttributionSnapshot, EnergySnapshot } from '../energy/snapshot.ts'
import { EnergySeries } from './energy-series.ts'
import { type TrialHost, Trials } from './trial.ts'

const part = (name: string, watts: number) => ({ name, watts, joules: 0 })

function snapshot(pods: readonly (readonly [uid: string, watts: number])[], idle = 1): EnergySnapshot {
  const attribution: AttributionSnapshot = {
    ...{
      policy: 'system',
      source: 'estimated',
      whole: part('whole', 3),
      idle: part('idle', idle),
      rest: part('rest', 1),
    },
    pods: pods.map(([uid, watts]) => ({
      ...{ ...part(uid, watts), uid, cpuSeconds: 0, zones: [], containers: [], state: 'running' },
    })),
    slices: [],
    agent: { ...part('agent', 0.1), own: part('agent', 0.1), mappers: [] },
  }
  return {
    attribution,
    totals: { measuredJ: 0, estimatedJ: 0, unknownS: 0 },
    zones: [],
    meters: [],
    packs: [],
    sources: [],
  }
}

describe('energy over time', () => {
  it('has a point each five seconds, pods by their names, and nothing where a part was not there yet', async () => {
    const clock = new VirtualClock()
    let now = snapshot([])
    using series = new EnergySeries(
      clock,
      () => now,
      (uid) => (uid === 'u1' ? 'default/patrol' : undefined),
    )
    await clock.advance(5_000)
    now = snapshot([['u1', 0.5]])
    await clock.advance(5_000)
    const { atMs, parts } = series.view(0)
    expect(atMs).toHaveLength(3)
    expect(parts.find(({ name }) => name === 'pod:default/patrol')?.watts).toEqual([null, null, 0.5])
    expect(series.view(atMs[1]!).atMs).toEqual([atMs[2]])
  })

  it('keeps an hour and no more, and forgets parts that are gone for so long', async () => {
    const clock = new VirtualClock()
    let now = snapshot([['u1', 1]])
    using series = new EnergySeries(
      clock,
      () => now,
      () => undefined,
    )
    now = snapshot([])
    await clock.advance(2 * 3_600_000)
    const { atMs, parts, since } = series.view(0)
    expect(atMs).toHaveLength(720)
    expect(parts.map(({ name }) => name)).toEqual(['idle', 'rest', 'agent'])
    expect(Date.parse(since)).toBe(atMs[0])
  })

  it('has a bounded number of parts', async () => {
    const clock = new VirtualClock()
    const many = Array.from({ length: 200 }, (_, at) => [`u${at}`, 1] as const)
    using series = new EnergySeries(
      clock,
      () => snapshot(many),
      () => undefined,
    )
    expect(series.view(0).parts).toHaveLength(40)
  })
})

const MODEL: DeviceModelSpec = {
  properties: [
    { name: 'voltage', type: 'float', unit: 'V', modbus: { input: 0, as: 'float32' }, poll: { every: '1h' } },
    { name: 'current', type: 'float', unit: 'A', modbus: { input: 6, as: 'float32' } },
  ],
}
const spec = (model: DeviceModelSpec): Json => JSON.parse(JSON.stringify(model)) as Json

class Host implements TrialHost {
  tried: DeviceBinding | undefined
  listener: ((batch: readonly Reading[]) => void) | undefined
  ended = 0
  readonly device: DeviceBinding['device']
  constructor(device: DeviceBinding['device']) {
    this.device = device
  }
  binding(key: string): DeviceBinding | undefined {
    return key === 'default/m' ? { key, device: this.device, model: MODEL, revision: '1' } : undefined
  }
  tryOut(binding: DeviceBinding): Disposable {
    this.tried = binding
    return { [Symbol.dispose]: () => void this.ended++ }
  }
  onReadings(listener: (batch: readonly Reading[]) => void): () => void {
    this.listener = listener
    return () => (this.listener = undefined)
  }
  read(property: string, value: number): void {
    this.listener?.([{ device: this.tried!.key, property, value, atMs: 0, quality: 'good' }])
  }
}

describe('a trial of a model', () => {
  const modbusDevice = { model: 'm', modbus: { tcp: { host: 'x' }, unit: 1 }, desired: { a: 1 } }

  it('reads every property at once beside the device in force, and ends when all are there', async () => {
    const host = new Host(modbusDevice)
    const trials = new Trials(host, new VirtualClock(), protocols)
    const running = trials.run('default/m', spec(MODEL))
    await expect.poll(() => host.tried?.key).toMatch(/^default\/m~/)
    expect(host.tried!.device).not.toHaveProperty('desired')
    expect(host.tried!.model.properties.every((property) => property.poll === undefined)).toBe(true)
    host.read('voltage', 230)
    host.read('current', 2)
    expect((await running).values).toEqual([
      { name: 'voltage', unit: 'V', value: 230, quality: 'good' },
      { name: 'current', unit: 'A', value: 2, quality: 'good' },
    ])
    expect([host.ended, host.listener]).toEqual([1, undefined])
  })

  it('ends with what there is when the rest does not come', async () => {
    const host = new Host(modbusDevice)
    const clock = new VirtualClock()
    const running = new Trials(host, clock, protocols).run('default/m', spec(MODEL))
    await expect.poll(() => host.tried?.key).toBeDefined()
    host.read('voltage', 230)
    await clock.advance(8_000)
    const { values, tookMs } = await running
    expect([values[0]?.value, values[1]?.value, tookMs, host.ended]).toEqual([230, undefined, 8_000, 1])
  })

  it('is refused for a model that is none, a device that is not here, a second one, and where an address is not shared', async () => {
    const host = new Host(modbusDevice)
    const clock = new VirtualClock()
    const trials = new Trials(host, clock, protocols)
    await expect(trials.run('default/other', spec(MODEL))).rejects.toMatchObject({ code: 'SLUICE_TWIN_DEVICE_UNKNOWN' })
    await expect(trials.run('default/m', { properties: 7 })).rejects.toThrowError()
    expect(host.tried).toBeUndefined()
    const running = trials.run('default/m', spec(MODEL))
    await expect.poll(() => host.tried?.key).toBeDefined()
    await expect(trials.run('default/m', spec(MODEL))).rejects.toMatchObject({ code: 'SLUICE_TRIAL_REFUSED' })
    await clock.advance(8_000)
    await running
    const radio = new Host({ model: 'm', lora: { devEui: '0011223344556677' } })
    const other = new Trials(radio, clock, protocols)
    await expect(other.run('default/m', spec(MODEL))).rejects.toMatchObject({ code: 'SLUICE_TRIAL_REFUSED' })
  })
})
