import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec } from '../../api/resources.ts'
import type { PolicyStage } from '../../api/schema/policy.ts'
import type { DeviceBinding } from '../../mappers/sdk/mapper.ts'
import { pollEveryMs } from '../../mappers/sdk/poll.ts'
import { stretchedBinding, stretchOf } from './stretch.ts'

const stage: PolicyStage = { name: 'saver', when: [{ onBattery: true }], poll: 10, report: 5, pause: ['deferrable'] }
const model: DeviceModelSpec = {
  properties: [
    { name: 'power', type: 'float' },
    { name: 'energy', type: 'float', poll: { every: '60s' } },
    { name: 'daily', type: 'float', poll: { every: '1d' } },
  ],
}
const binding = (device: DeviceBinding['device']): DeviceBinding => ({ key: 'plant/m', device, model, revision: 'r1' })
const periods = (given: DeviceBinding | undefined) =>
  given?.model.properties.map((property) => pollEveryMs(property, given.device))

describe('a stage and one device', () => {
  it('stretches every period, not beyond the limit, and never shortens one', () => {
    const stretch = stretchOf('plant/m', {}, stage, { policy: { stages: [stage], maxPoll: '5m' } })
    expect(periods(stretchedBinding(binding({ model: 'm' }), stretch))).toEqual([10_000, 300_000, 86_400_000])
    expect(periods(stretchedBinding(binding({ model: 'm', poll: { every: '2s' } }), stretch))).toEqual([
      20_000, 300_000, 86_400_000,
    ])
  })

  it('gives another revision while it lasts, the old one after it, and one model object for all devices of a model', () => {
    const stretch = stretchOf('plant/m', {}, stage, undefined)
    const plain = binding({ model: 'm' })
    const one = stretchedBinding(plain, stretch)!
    const two = stretchedBinding(binding({ model: 'm', poll: { every: '2s' } }), stretch)!
    expect(one.revision).not.toBe(plain.revision)
    expect(one.model).toBe(two.model)
    expect(stretchedBinding(plain, undefined)).toBe(plain)
  })

  it('touches nothing that is critical or that the gateway is measured by, and leaves deferrable work alone', () => {
    expect(stretchOf('plant/m', { importance: 'critical' }, stage, undefined)).toBeUndefined()
    expect(stretchOf('plant/m', {}, stage, { energy: { meter: { device: 'plant/m' } } })).toBeUndefined()
    expect(stretchOf('plant/m', {}, stage, { energy: { battery: { device: 'plant/m' } } })).toBeUndefined()
    const deferrable = stretchOf('plant/m', { importance: 'deferrable' }, stage, undefined)
    expect(deferrable?.paused).toContain('saver')
    expect(stretchedBinding(binding({ model: 'm' }), deferrable)).toBeUndefined()
    expect(stretchOf('plant/m', {}, { name: 'named', when: [{ throttled: true }] }, undefined)).toBeUndefined()
  })
})
