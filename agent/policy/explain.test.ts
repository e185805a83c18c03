import { describe, expect, it } from 'vitest'
import type { GatewaySpec } from '../../api/resources.ts'
import { explainPolicy } from './explain.ts'

const spec: GatewaySpec = {
  energy: { meter: { device: 'plant/meter' } },
  policy: {
    stages: [
      { name: 'saver', when: [{ batteryBelow: 50 }], poll: 10, report: 5 },
      { name: 'survival', when: [{ batteryBelow: 15 }], poll: 60, pause: ['deferrable'], after: '5s' },
    ],
  },
}
const model = {
  properties: [
    { name: 'level', type: 'float' as const },
    { name: 'energy', type: 'float' as const, poll: { every: '10s' } },
    { name: 'reset', type: 'bool' as const, access: 'write' as const },
  ],
}
const device = (key: string, words: object = {}) => ({ key, spec: { model: 'm', ...words }, model })

describe('the plan of a policy', () => {
  it('says for each device and stage how often it is read, and which stage the facts call for', () => {
    const plan = explainPolicy(
      spec,
      [device('plant/pump'), device('plant/meter'), device('plant/camera', { importance: 'deferrable' })],
      { batteryPercent: 30 },
    )
    expect(plan).toMatchObject({ stage: 'saver', why: 'charge below 50 %', more: 0 })
    expect(plan.readsPerSecond).toBeCloseTo(3.3)
    expect(plan.stages).toMatchObject([
      { stage: 'saver', holds: true, stretched: 2, paused: 0, afterMs: 30_000, holdMs: 300_000 },
      { stage: 'survival', holds: false, stretched: 1, paused: 1, afterMs: 5000, when: ['charge below 15 %'] },
    ])
    expect(plan.stages[1]!.readsPerSecond).toBeCloseTo(1.1 + 1 / 60 + 1 / 600)
    const [pump, meter, camera] = plan.devices
    expect(pump!.effects.map(({ pollMs }) => pollMs)).toEqual([
      [1000, 10_000],
      [10_000, 100_000],
      [60_000, 600_000],
    ])
    expect(pump!.effects[1]!.reportMs).toBe(5000)
    expect(meter).toMatchObject({ untouched: 'the gateway itself is measured by it' })
    expect(meter!.effects.every(({ pollMs }) => pollMs?.[0] === 1000)).toBe(true)
    expect(camera!.effects[2]).toMatchObject({ paused: true, readsPerSecond: 0 })
  })

  it('of a device that speaks by itself has no poll period to stretch', () => {
    const plan = explainPolicy(spec, [{ ...device('plant/tag'), listens: () => true }], {})
    expect(plan.stage).toBe('normal')
    expect(plan.devices[0]!.effects[1]).toEqual({ stage: 'saver', paused: false, reportMs: 5000, readsPerSecond: 0 })
  })

  it('stays bounded with ten thousand devices, and counts them all', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => device(`plant/d${index}`))
    const plan = explainPolicy(spec, many, {})
    expect(plan.devices).toHaveLength(1000)
    expect(plan.more).toBe(9000)
    expect(plan.stages[0]!.stretched).toBe(10_000)
  })

  it('of a gateway without a policy or with a device without its model says that nothing changes', () => {
    const plan = explainPolicy(undefined, [{ key: 'plant/x', spec: { model: 'gone' }, model: undefined }], {})
    expect(plan).toMatchObject({ stage: 'normal', stages: [], readsPerSecond: 0 })
  })

  it('shows which pods stand still in which stage, and leaves those alone that say nothing', () => {
    const pod = (importance?: string) => ({
      metadata: importance === undefined ? {} : { annotations: { 'sluice.dev/importance': importance } },
    })
    const spec = {
      policy: {
        stages: [
          { name: 'saver', when: [{ onBattery: true }], pause: ['deferrable' as const] },
          { name: 'survival', when: [{ batteryBelow: 10 }], pause: ['deferrable' as const, 'normal' as const] },
        ],
      },
    }
    const pods = ['deferrable', 'normal', 'critical', 'whatever', undefined].map((importance, i) => ({
      key: `plant/${i}` as const,
      pod: pod(importance),
    }))
    expect(explainPolicy(spec, [], {}, undefined, pods).pods).toEqual([
      { pod: 'plant/0', importance: 'deferrable', pausedIn: ['saver', 'survival'] },
      { pod: 'plant/1', importance: 'normal', pausedIn: ['survival'] },
      { pod: 'plant/2', importance: 'critical', pausedIn: [] },
    ])
  })
})
