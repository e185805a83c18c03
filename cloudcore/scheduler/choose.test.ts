import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { choose } from './choose.ts'
import { Cluster, readNode } from './cluster.ts'
import { ask, obstacles } from './filter.ts'
import { type GatewayFacts, gatewayFacts } from './gateway-facts.ts'
import { checkIntent } from './intent-check.ts'
import { evictions, taintsFor } from './lifecycle.ts'
import { planMoves, type Troubles } from './moves.ts'
import { type PodView, readPod } from './pod-view.ts'

const node = (
  name: string,
  more: { labels?: object; annotations?: object; taints?: object[]; cpu?: string; ready?: string } = {},
) =>
  readNode({
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...more.labels }, annotations: more.annotations ?? {} },
    spec: { taints: more.taints ?? [] },
    status: {
      allocatable: { cpu: more.cpu ?? '4', memory: '4Gi', pods: '110' },
      conditions: [{ type: 'Ready', status: more.ready ?? 'True' }],
      nodeInfo: { architecture: 'arm64' },
    },
  })

let uids = 0
const pod = (name: string, annotations: object = {}, spec: object = {}, more: object = {}): PodView =>
  readPod({
    metadata: {
      name,
      namespace: 'default',
      uid: `u${uids++}`,
      annotations,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...more,
    },
    spec: {
      containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '500m', memory: '64Mi' } } }],
      ...spec,
    },
  })

const onBattery = (percent: number, leftS?: number): GatewayFacts => ({
  ...{ online: true, mode: 'autonomous', supply: 'battery' },
  battery: { percent, state: 'discharging', ...(leftS === undefined ? {} : { leftS, leftLowS: leftS }) },
})
const onMains: GatewayFacts = { online: true, mode: 'autonomous', supply: 'mains' }

function cluster(
  gateways: Readonly<Record<string, GatewayFacts>>,
  nodes = Object.keys(gateways).map((name) => node(name)),
): Cluster {
  const made = new Cluster()
  for (const each of nodes) made.setNode(each)
  for (const [name, facts] of Object.entries(gateways)) made.setGateway(name, facts)
  return made
}

const NOW = Date.UTC(2026, 0, 1, 1)
const where = (given: PodView, on: Cluster) => choose(given, on, { nowMs: NOW }).node

describe('where a pod goes', () => {
  it('keeps hard intents, prefers soft ones, and says why', () => {
    const on = cluster({ 'gw-a': onBattery(35), 'gw-b': onBattery(80, 80_000), 'gw-c': onMains })
    expect(
      where(pod('p', { 'fluidos-intent-battery': '40' }, { nodeSelector: { 'kubernetes.io/hostname': 'gw-a' } }), on),
    ).toBeUndefined()
    const decision = choose(pod('p', { 'sluice.dev/intent': '{require: {battery: 40}, policy: battery}' }), on, {
      nowMs: NOW,
      detailed: true,
    })
    expect(decision.node).toBe('gw-c')
    expect(decision.why).toContain('runs on mains')
    expect(decision.candidates.find((each) => each.node === 'gw-a')?.obstacles).toEqual([
      'intent battery: battery 35 %, discharging, needs 40 %',
    ])
    expect(where(pod('p', { 'fluidos-intent-battery': '95' }), cluster({ 'gw-a': onBattery(35) }))).toBeUndefined()
  })

  it('says what every node lacks in the words of kube-scheduler', () => {
    const on = cluster({ a: onMains, b: onMains }, [
      node('a', { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] }),
      node('b', { cpu: '100m' }),
    ])
    expect(choose(pod('p'), on, { nowMs: NOW }).why).toBe(
      '0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}',
    )
  })

  it('takes a place without much to spare only when there is no other', () => {
    const tight = pod('p', { 'fluidos-intent-battery': '40' })
    expect(where(tight, cluster({ a: onBattery(42) }))).toBe('a')
    expect(where(tight, cluster({ a: onBattery(42), b: onBattery(60) }))).toBe('b')
  })

  it('follows affinity, anti-affinity, spread and selectors', () => {
    const on = cluster({ a: onMains, b: onMains, c: onMains })
    on.setPod({ ...pod('db', {}, {}, { labels: { app: 'db' } }), node: 'b' })
    const term = { labelSelector: { matchLabels: { app: 'db' } }, topologyKey: 'kubernetes.io/hostname' }
    const required = 'requiredDuringSchedulingIgnoredDuringExecution'
    expect(where(pod('p', {}, { affinity: { podAffinity: { [required]: [term] } } }), on)).toBe('b')
    expect(where(pod('p', {}, { affinity: { podAntiAffinity: { [required]: [term] } } }), on)).not.toBe('b')
    const wish = {
      nodeSelectorTerms: [
        { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'NotIn', values: ['a', 'b'] }] },
      ],
    }
    expect(where(pod('p', {}, { affinity: { nodeAffinity: { [required]: wish } } }), on)).toBe('c')
    const spread = {
      maxSkew: 1,
      topologyKey: 'kubernetes.io/hostname',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app: 'db' } },
    }
    const placed = [1, 2].map(() => {
      const each = pod('s', {}, { topologySpreadConstraints: [spread] }, { labels: { app: 'db' } })
      const to = where(each, on)
      on.setPod({ ...each, node: to })
      return to
    })
    expect(placed.sort()).toEqual(['a', 'c'])
  })

  it('is drawn to the device it reads, and runs only beside the one it is given', () => {
    const on = cluster({ a: onMains, b: onMains })
    on.setDevices([{ key: 'default/meter', gateway: 'b', model: 'sdm120', online: true, robotStatus: 'Idle' }])
    expect(where(pod('p', { 'sluice.dev/near': 'meter' }), on)).toBe('b')
    expect(where(pod('p', { 'sluice.dev/device': 'meter' }), on)).toBe('b')
    expect(where(pod('p', { 'fluidos-intent-sensor': 'sdm120' }), on)).toBe('b')
    expect(where(pod('p', { 'fluidos-intent-robot-status': 'idle,charging' }), on)).toBe('b')
    expect(where(pod('p', { 'fluidos-intent-robot-status': 'moving' }), on)).toBeUndefined()
  })

  it('waits for the cleanest hour that somebody forecasts in its time, and for nothing that is hardly cleaner', () => {
    const hours = (...gPerKWh: number[]) => ({
      ...{ ...onMains, carbonGPerKWh: gPerKWh[0]!, carbonForecast: { fromMs: Date.UTC(2026, 0, 1, 1), gPerKWh } },
    })
    const patient = pod('p', { 'fluidos-intent-carbon-aware': 'true', 'fluidos-intent-max-delay': '4' })
    const on = cluster({ a: hours(300, 290, 120, 60, 10), b: hours(310, 305, 300) })
    // Born at midnight, it may wait until four: the hour of 10 g begins too late.
    const { node: none, waitUntilMs, why } = choose(patient, on, { nowMs: NOW + 600_000 })
    expect([none, waitUntilMs]).toEqual([undefined, Date.UTC(2026, 0, 1, 4)])
    expect(why).toContain('60 g a kWh on a, now 300 g')
    on.setGateway('a', { ...hours(300, 290, 280, 275), carbonGPerKWh: 300 })
    expect(where(patient, on)).toBe('a')
    // A bound that it may wait for does not keep it for ever.
    const bound = pod('q', { 'fluidos-intent-carbon-aware': '<= 200', 'fluidos-intent-max-delay': '2' })
    expect(choose(bound, cluster({ a: { ...onMains, carbonGPerKWh: 600 } }), { nowMs: NOW }).waitUntilMs).toBe(
      Date.UTC(2026, 0, 1, 2),
    )
    expect(choose(bound, cluster({ a: { ...onMains, carbonGPerKWh: 600 } }), { nowMs: NOW + 7_200_000 }).node).toBe('a')
    const strict = pod('r', { 'fluidos-intent-carbon-aware': '<= 200' })
    expect(where(strict, cluster({ a: { ...onMains, carbonGPerKWh: 600 } }))).toBeUndefined()
  })

  it('waits for clean power as long as it may', () => {
    const on = cluster({ a: { ...onMains, carbonGPerKWh: 600 } })
    const patient = pod('p', { 'fluidos-intent-carbon-aware': 'true', 'fluidos-intent-max-delay': '2' })
    expect(choose(patient, on, { nowMs: NOW })).toMatchObject({ node: undefined, waitUntilMs: Date.UTC(2026, 0, 1, 2) })
    expect(choose(patient, on, { nowMs: Date.UTC(2026, 0, 1, 3) }).node).toBe('a')
    on.setGateway('a', { ...onMains, carbonGPerKWh: 90 })
    expect(where(patient, on)).toBe('a')
  })

  it('gives each policy what it is named for', () => {
    const on = cluster({
      full: { ...onMains, celsius: 80, watts: 20, carbonGPerKWh: 500 },
      free: { ...onMains, celsius: 45, watts: 4, carbonGPerKWh: 50 },
    })
    on.setPod({
      ...pod(
        'x',
        {},
        { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '2', memory: '2Gi' } } }] },
      ),
      node: 'full',
    })
    const under = (policy: string) => where(pod('p', { 'sluice.dev/intent': `policy: ${policy}` }), on)
    expect(
      ['consolidation', 'workload-balance', 'cpu-balance', 'thermal-balance', 'energy', 'carbon'].map(under),
    ).toEqual(['full', 'free', 'free', 'free', 'free', 'free'])
  })

  it('never chooses a place that a hard intent, a taint or its size forbids (property)', () => {
    const facts = fc.record({
      percent: fc.integer({ min: 0, max: 100 }),
      leftS: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
      state: fc.constantFrom('charging', 'discharging', 'full'),
      roundTripMs: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined }),
      online: fc.boolean(),
      tainted: fc.boolean(),
      cpu: fc.constantFrom('100m', '1', '4'),
    })
    const wants = fc.record({
      battery: fc.integer({ min: 0, max: 100 }),
      latency: fc.integer({ min: 1, max: 100 }),
      soft: fc.boolean(),
    })
    fc.assert(
      fc.property(
        fc.array(facts, { maxLength: 8 }),
        fc.array(wants, { minLength: 1, maxLength: 12 }),
        (gateways, asked) => {
          const on = new Cluster()
          gateways.forEach(({ percent, leftS, state, roundTripMs, online, tainted, cpu }, index) => {
            on.setNode(node(`n${index}`, { cpu, taints: tainted ? [{ key: 't', effect: 'NoSchedule' }] : [] }))
            const held = { percent, state, ...(leftS === undefined ? {} : { leftS }) }
            on.setGateway(`n${index}`, {
              online,
              mode: 'autonomous',
              battery: held,
              ...(roundTripMs === undefined ? {} : { roundTripMs }),
            })
          })
          for (const { battery, latency, soft } of asked) {
            const given = pod('p', {
              'fluidos-intent-battery': `${battery}%`,
              'fluidos-intent-latency': `${soft ? 'prefer ' : ''}${latency}ms`,
            })
            const to = where(given, on)
            if (to === undefined) {
              for (const place of on.places.values()) expect(obstacles(ask(given, on, false), place)).not.toEqual([])
              continue
            }
            const place = on.places.get(to)!
            for (const intent of given.meaning.intents)
              if (intent.hard) expect(checkIntent(intent, place, false).keeps).toBe(true)
            expect(place.node.taints).toEqual([])
            expect(place.gateway?.online).toBe(true)
            on.setPod({ ...given, node: to })
            expect(place.requested['cpu']).toBeLessThanOrEqual(place.node.allocatable['cpu']!)
          }
        },
      ),
    )
  })
})

describe('moving before it fails', () => {
  const look = (on: Cluster, troubles: Troubles, nowMs: number) => planMoves(on, troubles, nowMs)

  it('leaves a gateway whose battery is empty in twenty minutes, after half a minute of certainty', () => {
    const on = cluster({ a: onBattery(12, 900), b: onMains })
    on.setPod({ ...pod('p'), node: 'a', phase: 'Running' })
    const troubles: Troubles = new Map()
    expect(look(on, troubles, NOW).moves).toEqual([])
    const [move] = look(on, troubles, NOW + 31_000).moves
    expect(move).toMatchObject({ from: 'a', to: 'b', why: 'the battery of a is empty in 15 min' })
  })

  it('goes with its device when that changes hands, and stays while nobody serves it', () => {
    const on = cluster({ a: onMains, b: onMains })
    const meter = { key: 'default/meter', model: 'm', online: true }
    on.setDevices([{ ...meter, gateway: 'a' }])
    const reader = { ...pod('p', { 'sluice.dev/device': 'meter' }), node: 'a', phase: 'Running' }
    on.setPod(reader)
    const troubles: Troubles = new Map()
    expect(look(on, troubles, NOW).moves).toEqual([])
    on.setDevices([])
    look(on, troubles, NOW + 1_000)
    expect(look(on, troubles, NOW + 60_000).moves).toEqual([])
    on.setDevices([{ ...meter, gateway: 'b' }])
    look(on, troubles, NOW + 61_000)
    expect(look(on, troubles, NOW + 62_000).moves).toMatchObject([
      { to: 'b', why: 'the device default/meter is behind b now' },
    ])
  })

  it('takes no pod at a gateway that takes none, whatever runs there', () => {
    const on = cluster({ a: { ...onMains, refuses: 'stage saving' }, b: onMains })
    on.setPod({ ...pod('held', {}, {}, {}), node: 'a', phase: 'Running' })
    expect(where(pod('p'), on)).toBe('b')
    const troubles: Troubles = new Map()
    look(on, troubles, NOW)
    expect(look(on, troubles, NOW + 60_000).moves).toEqual([])
    on.setGateway('b', { ...onMains, refuses: 'stage hot' })
    expect(choose(pod('p'), on, { nowMs: NOW }).why).toContain('the gateway takes no more pods: stage saving')
  })

  it('forgets a breach that was over before, and leaves what nobody told', () => {
    const on = cluster({ a: { ...onMains, roundTripMs: 90 }, b: { ...onMains, roundTripMs: 5 } })
    on.setPod({ ...pod('p', { 'fluidos-intent-latency': '20' }), node: 'a', phase: 'Running' })
    const troubles: Troubles = new Map()
    look(on, troubles, NOW)
    on.setGateway('a', { ...onMains, roundTripMs: 9 })
    look(on, troubles, NOW + 20_000)
    on.setGateway('a', { ...onMains, roundTripMs: 90 })
    expect(look(on, troubles, NOW + 40_000).moves).toEqual([])
    expect(look(on, troubles, NOW + 75_000).moves).toHaveLength(1)
    on.setGateway('a', onMains)
    expect(look(on, troubles, NOW + 200_000).moves).toEqual([])
  })

  it('says why a pod stays that has nowhere to go', () => {
    const on = cluster({ a: onBattery(12, 900) })
    on.setPod({ ...pod('p'), node: 'a', phase: 'Running' })
    const troubles: Troubles = new Map()
    look(on, troubles, NOW)
    expect(look(on, troubles, NOW + 31_000).stuck[0]?.why).toContain('the battery of a is empty')
  })

  it('takes a quarter of a workload at a time for a breach, and all of it from a dying gateway', () => {
    const owned = (name: string) =>
      pod(
        name,
        { 'fluidos-intent-latency': '20' },
        {},
        { ownerReferences: [{ kind: 'ReplicaSet', name: 'r', uid: 'r', controller: true }] },
      )
    const on = cluster({ a: { ...onMains, roundTripMs: 90 }, b: { ...onMains, roundTripMs: 5 } })
    for (let index = 0; index < 8; index++) on.setPod({ ...owned(`p${index}`), node: 'a', phase: 'Running' })
    const troubles: Troubles = new Map()
    look(on, troubles, NOW)
    expect(look(on, troubles, NOW + 31_000).moves).toHaveLength(2)
    on.setGateway('a', { ...onBattery(5, 300), roundTripMs: 5 })
    look(on, troubles, NOW + 40_000)
    expect(look(on, troubles, NOW + 80_000).moves).toHaveLength(8)
  })

  it('leaves pods of a silent gateway, of a DaemonSet, and those that say stay', () => {
    const on = cluster({ a: { ...onBattery(5, 300), online: false }, b: onMains, c: onBattery(5, 300) })
    on.setPod({ ...pod('silent'), node: 'a', phase: 'Running' })
    on.setPod({ ...pod('stays', { 'sluice.dev/intent': 'onBreach: stay' }), node: 'c', phase: 'Running' })
    on.setPod({
      ...pod('daemon', {}, {}, { ownerReferences: [{ kind: 'DaemonSet', name: 'd', uid: 'd', controller: true }] }),
      node: 'c',
      phase: 'Running',
    })
    const troubles: Troubles = new Map()
    look(on, troubles, NOW)
    expect(look(on, troubles, NOW + 60_000).moves).toEqual([])
  })

  it('never flaps: whatever batteries do, a pod stays where it was put for its time (property)', () => {
    const step = fc.array(fc.tuple(fc.integer({ min: 0, max: 100 }), fc.constantFrom('charging', 'discharging')), {
      minLength: 3,
      maxLength: 3,
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (weather) => {
        const on = cluster({ n0: onMains, n1: onMains, n2: onMains })
        let held = { ...pod('p', { 'fluidos-intent-battery': '40' }), node: 'n0', phase: 'Running', createdMs: NOW }
        on.setPod(held)
        const troubles: Troubles = new Map()
        let sinceMs = NOW
        weather.forEach((each, index) => {
          const nowMs = NOW + index * 20_000
          each.forEach(([percent, state], at) => {
            on.setGateway(`n${at}`, {
              ...onMains,
              supply: 'battery',
              battery: { percent, state, leftS: percent * 100 },
            })
          })
          const { moves } = planMoves(on, troubles, nowMs)
          expect(moves.length).toBeLessThanOrEqual(1)
          for (const { to, from } of moves) {
            expect(from).not.toBe(to)
            expect(nowMs - sinceMs).toBeGreaterThanOrEqual(60_000)
            const place = on.places.get(to)!
            expect(checkIntent(held.meaning.intents[0]!, place, true).keeps).toBe(true)
            sinceMs = nowMs
            on.removePod(held.uid)
            held = { ...held, uid: `v${index}`, node: to, createdMs: nowMs }
            on.setPod(held)
          }
          expect([...on.places.values()].filter((place) => place.pods.size > 0)).toHaveLength(1)
        })
      }),
    )
  })
})

describe('nodes that say nothing', () => {
  it('are tainted, and freed again', () => {
    const silent = taintsFor(node('a', { ready: 'Unknown' }), NOW)
    expect(silent?.map(({ key, effect }) => `${key}:${effect}`)).toEqual([
      'node.kubernetes.io/unreachable:NoSchedule',
      'node.kubernetes.io/unreachable:NoExecute',
    ])
    expect(taintsFor(node('a', { taints: [...silent!, { key: 'mine', effect: 'NoSchedule' }] }), NOW)).toEqual([
      { key: 'mine', effect: 'NoSchedule' },
    ])
  })

  it('keep their pods when they are autonomous, give them up when their tether says so', () => {
    const taints = [{ key: 'node.kubernetes.io/unreachable', effect: 'NoExecute', timeAdded: '2026-01-01T00:00:00Z' }]
    const tolerations = [
      { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
    ]
    const on = cluster({ a: { ...onMains, online: false } }, [node('a', { taints, ready: 'Unknown' })])
    on.setPod({ ...pod('stays', {}, { tolerations }), node: 'a', phase: 'Running' })
    on.setPod({ ...pod('goes', { 'sluice.dev/on-silence': 'move' }, { tolerations }), node: 'a', phase: 'Running' })
    const gone = (from: number | 'never' | undefined, nowMs: number) =>
      evictions(on, () => from, nowMs).map((each) => each.pod.name)
    expect(gone('never', NOW)).toEqual(['goes'])
    expect(gone(undefined, NOW)).toEqual(['stays', 'goes'])
    expect(gone(NOW + 1000, NOW)).toEqual([])
    expect(gone(NOW + 1000, NOW + 1000)).toEqual(['stays', 'goes'])
    expect(gone(0, Date.UTC(2026, 0, 1, 0, 4))).toEqual([])
  })
})

it('reads what a gateway tells of itself', () => {
  const at = '2026-01-01T00:00:00Z'
  const facts = gatewayFacts({
    state: 'online',
    battery: {
      percent: 40,
      state: 'discharging',
      timeToEmpty: { seconds: 900, lowSeconds: 700, highSeconds: 1200 },
      source: 'measured',
      by: 'battery',
      at,
    },
    networks: [{ name: 'wlan0', kind: 'wifi', up: true, toHub: true, bitrateBps: 6e6 }],
  })
  expect(facts).toEqual({
    online: true,
    mode: 'autonomous',
    battery: { state: 'discharging', percent: 40, leftS: 900, leftLowS: 700 },
    bitrateBps: 6e6,
  })
})
