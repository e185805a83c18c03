import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Gateway, GatewayStatus } from '../../api/resources.ts'
import { collectionPath, GATEWAYS, NODES, objectPath } from '../kube/paths.ts'
import { CoreHouse } from '../testing/core-house.ts'
import { ScriptedAgent } from '../testing/scripted-agent.ts'
import { batteryBand, type Taint, withTaints } from './node-facts.ts'
import { keysOf, patchOf, soundVitals, steadyPart } from './told-vitals.ts'

const at = '2026-01-01T00:00:00.000Z'
const power = (watts: number): NonNullable<GatewayStatus['power']> => ({
  watts,
  source: 'estimated',
  by: 'model',
  supply: 'battery',
  at,
})
const battery = (percent: number, more: object = {}): NonNullable<GatewayStatus['battery']> => ({
  percent,
  state: 'discharging',
  source: 'measured',
  by: 'battery',
  at,
  ...more,
})
const low = (status: 'True' | 'False') => ({
  type: 'BatteryLow',
  status,
  reason: 'ChargeLow',
  message: 'charge below 20 %',
  lastTransitionTime: at,
})

describe('what a gateway tells of itself', () => {
  it('is taken part by part: what an API would refuse is left out and does not spoil the rest', () => {
    const told = {
      power: power(4),
      battery: { percent: 'plenty' },
      networks: [
        { name: 'wlan0', kind: 'wifi', up: true },
        { name: 'wlan0', kind: 'wifi', up: true },
      ],
      link: { roundTripMs: 20, trend: 'sideways' },
      thermal: { throttled: false, at },
    }
    // From the wire: it may be anything.
    const sound = soundVitals(told as unknown as GatewayStatus)
    expect(sound).toEqual({
      power: power(4),
      thermal: { throttled: false, at },
      summary: { power: '~4.00W battery' },
    })
  })

  it('survives any JSON at any place', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom('power', 'energy', 'battery', 'thermal', 'networks', 'policy', 'link'),
          fc.jsonValue(),
        ),
        (told) => {
          const sound = soundVitals(told as GatewayStatus)
          expect(soundVitals(sound as GatewayStatus)).toEqual(sound)
        },
      ),
    )
  })

  it('takes away what is not there any more', () => {
    const before = {
      power: power(4),
      battery: battery(50, { timeToEmpty: { seconds: 60, lowSeconds: 1, highSeconds: 90 } }),
    }
    const now: GatewayStatus = { battery: battery(51, { state: 'charging' }) }
    expect(patchOf(now, keysOf(before))).toEqual({ power: null, battery: { ...now.battery, timeToEmpty: null } })
  })

  it('is worth a patch when something turned, not when figures move', () => {
    const status = { power: power(4), battery: battery(50), link: { roundTripMs: 20, trend: 'steady' as const } }
    const text = (given: GatewayStatus) => JSON.stringify(steadyPart(given))
    const moved = {
      ...status,
      link: { roundTripMs: 30, trend: 'steady' as const },
      lastSeen: at,
      battery: battery(50, { at: '2026-01-01T00:00:09.000Z', watts: -4 }),
    }
    expect(text(moved)).toBe(text(status))
    expect(text({ ...status, battery: battery(49) })).not.toBe(text(status))
    expect(text({ ...status, link: { trend: 'degrading' } })).not.toBe(text(status))
  })
})

describe('a Node', () => {
  it('has a band of charge that is left upwards only by a margin', () => {
    const bands: string[] = []
    for (const percent of [81, 79, 81, 82.9, 83, 41, 39, 42, 19, 22, 23]) bands.push(batteryBand(percent, bands.at(-1)))
    expect(bands).toEqual(['full', 'good', 'good', 'good', 'full', 'good', 'low', 'low', 'critical', 'critical', 'low'])
    expect(batteryBand(90, 'somebody-elses-word')).toBe('full')
  })

  it('keeps the taints of others whatever ours are', () => {
    const taint = fc.record({
      key: fc.constantFrom(
        'node.kubernetes.io/unreachable',
        'sluice.dev/devices-only',
        'sluice.dev/battery-low',
        'sluice.dev/on-battery',
      ),
      effect: fc.constant('NoSchedule'),
    })
    const list = fc.uniqueArray(taint, { selector: ({ key }) => key })
    fc.assert(
      fc.property(list, list, (held: Taint[], given: Taint[]) => {
        const ours = given.filter(({ key }) => key.endsWith('battery-low') || key.endsWith('on-battery'))
        const foreign = (taints: readonly Taint[]) => taints.filter(({ key }) => !key.includes('battery'))
        const wanted = withTaints(held, ours)
        const result = wanted ?? held
        expect(foreign(result)).toEqual(foreign(held))
        expect(new Set(result.filter(({ key }) => key.includes('battery')).map(({ key }) => key))).toEqual(
          new Set(ours.map(({ key }) => key)),
        )
        if (wanted !== undefined) expect(withTaints(wanted, ours)).toBeUndefined()
      }),
    )
  })
})

describe('a cloud core', () => {
  let house: CoreHouse

  beforeAll(async () => {
    house = await CoreHouse.open()
  })
  afterAll(() => house[Symbol.asyncDispose]())

  interface Node {
    readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> }
    readonly spec: { readonly taints?: readonly Taint[] }
    readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string }[] }
  }

  const gatewayUntil = (name: string, wants: (gateway: Gateway) => boolean) =>
    house.objectUntil<Gateway>(collectionPath(GATEWAYS), { fieldSelector: `metadata.name=${name}` }, wants)
  const nodeUntil = (name: string, wants: (node: Node) => boolean) =>
    house.objectUntil<Node>(collectionPath(NODES), { fieldSelector: `metadata.name=${name}` }, wants)

  it('puts power and link of a gateway into its status and its Node, and takes them away again', {
    timeout: 60_000,
  }, async () => {
    const name = 'gw-vital'
    const agent = await ScriptedAgent.open(await house.joinGateway(name))
    await agent.hello()
    await house.kube.patch(objectPath(GATEWAYS, name), 'merge', { spec: { taints: ['BatteryLow'] } })
    await nodeUntil(name, () => true)
    await house.kube.patch(objectPath(NODES, name), 'merge', {
      metadata: { labels: { 'example.com/rack': 'a' } },
      spec: { taints: [{ key: 'example.com/mine', effect: 'NoSchedule' }] },
    })
    agent.send({
      t: 'status',
      status: {
        conditions: [low('True')],
        power: power(4),
        battery: battery(12),
        networks: [{ name: 'wlan0', kind: 'wifi', up: true, toHub: true, signalDbm: -60 }],
      },
    })
    const low1 = await nodeUntil(
      name,
      ({ spec }) => spec.taints?.some(({ key }) => key === 'sluice.dev/battery-low') === true,
    )
    expect(low1.metadata.labels).toMatchObject({
      'example.com/rack': 'a',
      'sluice.dev/power-source': 'battery',
      'sluice.dev/battery-band': 'critical',
      'sluice.dev/link-kind': 'wifi',
    })
    expect(low1.spec.taints?.map(({ key }) => key)).toContain('example.com/mine')
    expect(low1.status.conditions.map(({ type, status }) => `${type} ${status}`)).toEqual([
      'Ready True',
      'BatteryLow True',
    ])
    const shown = await gatewayUntil(name, ({ status }) => status?.summary !== undefined)
    expect(shown.status).toMatchObject({
      summary: { battery: '12% discharging', power: '~4.00W battery', link: 'wifi -60dBm' },
      battery: battery(12),
      networks: [{ name: 'wlan0', signalDbm: -60 }],
    })
    agent.send({ t: 'status', status: { conditions: [low('False')] } })
    const fine = await nodeUntil(
      name,
      ({ spec }) => spec.taints?.some(({ key }) => key === 'sluice.dev/battery-low') === false,
    )
    expect(fine.spec.taints?.map(({ key }) => key)).toContain('example.com/mine')
    expect(Object.keys(fine.metadata.labels).filter((label) => label.startsWith('sluice.dev/'))).toEqual([
      'sluice.dev/gateway',
    ])
    agent[Symbol.dispose]()
    const away = await nodeUntil(name, ({ status }) =>
      status.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'Unknown'),
    )
    expect(away.status.conditions.find(({ type }) => type === 'BatteryLow')?.status).toBe('Unknown')
    const held = await gatewayUntil(name, ({ status }) => status?.state === 'offline')
    expect(held.status).not.toHaveProperty('battery')
    expect(held.status).not.toHaveProperty('summary')
  })
})
