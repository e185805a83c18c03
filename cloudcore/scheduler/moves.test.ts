import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { choose } from './choose.ts'
import type { Cluster } from './cluster.ts'
import { gatewayFacts } from './gateway-facts.ts'
import { checkIntent } from './intent-check.ts'
import { evictions, taintsFor } from './lifecycle.ts'
import { planMoves, type Troubles } from './moves.ts'
import { cluster, NOW, node, onBattery, onMains, pod, where } from './world.test-helper.ts'

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

  it('places nothing by what an offline robot or sensor was, stays while a robot is silent, and leaves a dead sensor for a live one', () => {
    const on = cluster({ a: onMains, b: onMains })
    const robot = { key: 'default/robot', model: 'rover', gateway: 'a', robotStatus: 'idle' }
    const meter = { key: 'default/meter', model: 'sdm120', gateway: 'a' }
    const idle = { ...pod('idle', { 'fluidos-intent-robot-status': 'idle' }), node: 'a', phase: 'Running' }
    const near = { ...pod('near', { 'fluidos-intent-sensor': 'sdm120' }), node: 'a', phase: 'Running' }
    on.setDevices([robot, meter].map((each) => ({ ...each, online: true })))
    on.setPod(idle)
    on.setPod(near)
    const asked = (each: typeof idle) => where({ ...each, node: undefined, uid: 'new' }, on)
    expect([asked(idle), asked(near)]).toEqual(['a', 'a'])
    const troubles: Troubles = new Map()
    const dead = [robot, meter].map((each) => ({ ...each, online: false }))
    on.setDevices([...dead, { ...meter, key: 'default/other', gateway: 'b', online: true }])
    expect([asked(idle), asked(near)]).toEqual([undefined, 'b'])
    look(on, troubles, NOW)
    expect(look(on, troubles, NOW + 31_000).moves).toMatchObject([{ pod: { name: 'near' }, to: 'b' }])
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

  it('stops searching when it is told to, goes on with the others next time, and asks nobody twice in a row', () => {
    const dirty = { ...onMains, carbonGPerKWh: 400 }
    const on = cluster({ a: dirty, b: dirty })
    const names = Array.from({ length: 40 }, (_, index) => `p${String(index).padStart(2, '0')}`)
    for (const name of names) {
      on.setPod({ ...pod(name, { 'fluidos-intent-carbon-aware': '<= 200' }), node: 'a', phase: 'Running' })
    }
    const troubles: Troubles = new Map()
    look(on, troubles, NOW)
    const tried: string[] = []
    const turn = (nowMs: number) => {
      let left = 9
      const { stuck, more } = planMoves(on, troubles, nowMs, () => left-- > 0)
      tried.push(...stuck.map((each) => each.pod.name))
      return more
    }
    const more = [31, 32, 33, 34, 35].map((seconds) => turn(NOW + seconds * 1000))
    expect(more).toEqual([true, true, true, false, false])
    expect(tried).toEqual(names)
    // Half a minute later they are asked again, who waited longest first.
    turn(NOW + 61_500)
    expect(tried.slice(40)).toEqual(names.slice(0, 10))
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
