import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gatewayKey } from '../api/link/messages.ts'
import type { GatewaySpec, GatewayStatus } from '../api/resources.ts'
import type { EnergySnapshot } from './energy/snapshot.ts'
import { gatewayStatus, Transitions } from './gateway-status.ts'
import { type LinkStatus, newLinkStatus } from './link/status.ts'
import { deviceObject, modelObject, Plant, temporaryDirectory } from './test-helpers/plant.ts'
import { policyFacts, Vitals } from './vitals.ts'

let directory: ReturnType<typeof temporaryDirectory>
let plant: Plant
let vitals: Vitals
let energy: EnergySnapshot
let link: LinkStatus | undefined
let changes: number

const nothing: EnergySnapshot = {
  totals: { measuredJ: 0, estimatedJ: 0, unknownS: 0 },
  zones: [],
  meters: [],
  packs: [],
  sources: [],
}
const at = '2026-01-01T00:00:00.000Z'
const onBattery = (percent: number, watts = 5): EnergySnapshot => ({
  ...nothing,
  power: { watts, source: 'measured', by: 'battery', supply: 'battery', at },
  battery: { percent, state: 'discharging', watts: -watts, source: 'measured', by: 'battery', at },
  thermal: { celsius: 50, throttled: false, at },
})
const policy: NonNullable<GatewaySpec['policy']> = {
  stages: [
    { name: 'saver', when: [{ onBattery: true, batteryBelow: 50 }], poll: 4 },
    { name: 'survival', when: [{ batteryBelow: 15 }], poll: 20, pause: ['deferrable'], after: '5s' },
  ],
}
const gatewayObject = (spec: GatewaySpec, rev: string) =>
  ({ kind: 'Gateway', key: gatewayKey('gw-1'), rev, object: { uid: 'u', generation: 1, spec } }) as const

beforeEach(async () => {
  directory = temporaryDirectory()
  plant = new Plant(directory.path)
  energy = nothing
  link = undefined
  changes = 0
  const root = join(directory.path, 'root')
  mkdirSync(join(root, 'sys/class/net'), { recursive: true })
  mkdirSync(join(root, 'proc/net'), { recursive: true })
  writeFileSync(join(root, 'proc/net/dev'), '')
  vitals = new Vitals({
    ...{ core: plant.core, clock: plant.clock, procRoot: join(root, 'proc'), sysRoot: join(root, 'sys') },
    link: () => link,
    energy: () => energy,
    onChange: () => {
      changes++
    },
  })
  vitals.start()
  await plant.put(modelObject(), deviceObject('pump'), deviceObject('camera', { spec: { importance: 'deferrable' } }))
})
afterEach(async () => {
  vitals[Symbol.dispose]()
  await plant.stop()
  directory[Symbol.dispose]()
})

const notices = () => plant.core.notices.list().map(({ type, reason, message }) => `${type} ${reason}: ${message}`)
const alerts = () => vitals.policy.alerts.map(({ type, status }) => `${type} ${status}`)
const told = (): GatewayStatus =>
  gatewayStatus(
    {
      ...{ core: plant.core, transitions: new Transitions(), clock: plant.clock, startedMonotonicMs: 0, vitals },
      link: () => link,
    },
    'told',
  )

describe('a gateway whose battery is emptied', () => {
  it('goes through the stages of its policy, says so, and comes back', async () => {
    await plant.put(gatewayObject({ policy }, '1'))
    energy = onBattery(60)
    await plant.clock.advance(60_000)
    expect(vitals.policy.status).toMatchObject({ stage: 'normal', stretched: 0, paused: 0 })
    energy = onBattery(49)
    await plant.clock.advance(40_000)
    expect(vitals.policy.status).toMatchObject({
      stage: 'saver',
      why: 'on battery and charge below 50 %',
      stretched: 2,
      paused: 0,
    })
    expect(plant.fake.bindings.map(({ device }) => device.poll?.every)).toEqual(['4000ms', '4000ms'])
    energy = onBattery(12)
    await plant.clock.advance(20_000)
    expect(vitals.policy.status).toMatchObject({ stage: 'survival', stretched: 1, paused: 1 })
    expect(alerts()).toEqual(['BatteryLow True', 'OnBattery True', 'Throttled False'])
    energy = { ...onBattery(100), power: { watts: 5, source: 'measured', by: 'battery', supply: 'mains', at } }
    await plant.clock.advance(700_000)
    expect(vitals.policy.status).toMatchObject({ stage: 'normal', stretched: 0, paused: 0 })
    expect(plant.fake.bindings.map(({ device }) => device.poll)).toEqual([undefined, undefined])
    expect(notices().filter((text) => text.includes('PolicyStage'))).toEqual([
      'Normal PolicyStage: stage survival -> normal (no longer: charge below 15 %): every device as configured',
      'Warning PolicyStage: stage saver -> survival (charge below 15 %): 1 device(s) less often, 1 paused',
    ])
    expect(notices()).toContain('Warning BatteryLow: BatteryLow: charge below 20 %')
  })

  it('obeys a policy that is changed or taken away while a stage is in force', async () => {
    await plant.put(gatewayObject({ policy }, '1'))
    energy = onBattery(30)
    await plant.clock.advance(40_000)
    const [saver] = policy.stages
    await plant.put(gatewayObject({ policy: { stages: [{ ...saver!, poll: 9 }] } }, '2'))
    await plant.clock.advance(2000)
    expect(plant.fake.bindings[0]?.device.poll?.every).toBe('9000ms')
    await plant.put(gatewayObject({}, '3'))
    await plant.clock.advance(2000)
    expect(vitals.policy.status).toBeUndefined()
    expect(plant.fake.bindings[0]?.device.poll).toBeUndefined()
  })

  it('tells the hub of turns at once, and of noise nothing', async () => {
    energy = onBattery(60)
    await plant.clock.advance(30_000)
    const before = changes
    const statuses = new Set<string>()
    for (let second = 0; second < 600; second++) {
      energy = onBattery(60 + (second % 3) * 0.3, 5 + (second % 5) * 0.1)
      await plant.clock.advance(1000)
      const { power, battery, thermal } = told()
      statuses.add(JSON.stringify([power?.watts, battery?.percent, thermal?.celsius]))
    }
    expect(statuses.size).toBe(1)
    expect(changes).toBe(before)
    energy = onBattery(10)
    await plant.clock.advance(15_000)
    expect(changes).toBe(before + 1)
  })

  it('has no condition of what it has not: no battery, no link, no heat', async () => {
    await plant.clock.advance(60_000)
    expect(alerts()).toEqual([])
    link = newLinkStatus('wss://hub')
    await plant.clock.advance(60_000)
    expect(alerts()).toEqual(['LinkDegraded True'])
    expect(told()).not.toHaveProperty('battery')
  })
})

describe('the facts of a policy', () => {
  it('know mains from battery by the supply, else by what the battery does, else not at all', () => {
    const way = { quality: undefined }
    const battery = (state: 'charging' | 'discharging' | 'idle') => ({
      battery: { state, source: 'measured' as const, by: 'battery', at },
    })
    expect(policyFacts(battery('discharging'), way, undefined)).toEqual({ onBattery: true })
    expect(policyFacts(battery('charging'), way, undefined)).toEqual({ onBattery: false })
    expect(policyFacts(battery('idle'), way, undefined)).toEqual({})
    const mains = { power: { watts: 1, source: 'measured' as const, by: 'x', supply: 'mains' as const, at } }
    expect(policyFacts({ ...battery('discharging'), ...mains }, way, undefined)).toEqual({ onBattery: false })
  })
})
