import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { choose, gistOf } from './choose.ts'
import { Cluster } from './cluster.ts'
import { ask, obstacles } from './filter.ts'
import { checkIntent } from './intent-check.ts'
import { cluster, NOW, node, onBattery, onMains, pod, where } from './world.test-helper.ts'

describe('where a pod goes', () => {
  it('tells once what differs in figures only, with their range, and calls it no news when they move', () => {
    const why = (...charges: readonly number[]) => {
      const on = cluster(Object.fromEntries(charges.map((each, index) => [`gw-${index}`, onBattery(each)])))
      return choose(pod('p', { 'fluidos-intent-battery': '90' }), on, { nowMs: NOW }).why
    }
    expect(why(12, 38.5, 20)).toBe(
      '0/3 nodes are available: 3 intent battery: battery 12 to 38.5 %, discharging, needs 90 %',
    )
    expect(gistOf(why(12, 38.5, 20))).toBe(gistOf(why(13, 13, 13)))
    expect(gistOf(why(12))).not.toBe(gistOf(why(12, 13)))
    expect(gistOf('behind gw-7')).toBe('behind gw-7')
  })

  it('says that a name is nobody, and where a person says what nobody told', () => {
    const on = cluster({ 'gw-a': { online: true, mode: 'autonomous', supply: 'unknown' } })
    const why = (annotations: object) => choose(pod('p', annotations), on, { nowMs: NOW }).why
    expect(why({ 'sluice.dev/offload-to': 'gw-9' })).toContain('there is no such node; see: kubectl get nodes')
    expect(why({ 'fluidos-intent-bandwidth-against': '= 20ms AZURE' })).toContain('sluice.dev/latency-to-AZURE')
    expect(why({ 'fluidos-intent-location': 'hall' })).toContain('(sluice.dev/location of the Node)')
    expect(why({ 'fluidos-intent-battery': '40' })).toContain('sluice.dev/supply=mains')
    on.setNode(node('gw-a', { labels: { 'sluice.dev/supply': 'mains' } }))
    expect(where(pod('p', { 'fluidos-intent-battery': '40' }), on)).toBe('gw-a')
  })

  it('compares a distance as FLUIDOS does: below, at most, above, at least, and equal to the millisecond', () => {
    const on = cluster({ at: onMains }, [node('at', { annotations: { 'sluice.dev/latency-to-AZURE': '20.4ms' } })])
    const holds = (value: string) =>
      where(pod('p', { 'fluidos-intent-bandwidth-against': `${value} AZURE` }), on) === 'at'
    const all = [
      '= 20ms',
      '= 21ms',
      '< 20ms',
      '< 21ms',
      '<= 20ms',
      '<= 20.4ms',
      '> 20ms',
      '> 20.4ms',
      '>= 20.4ms',
      '>= 21ms',
    ]
    expect(all.filter(holds)).toEqual(['= 20ms', '< 21ms', '<= 20.4ms', '> 20ms', '>= 20.4ms'])
  })

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
