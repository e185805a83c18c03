import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DiscoveredDeviceSpec, DiscoveryPolicy, DiscoveryPolicySpec } from '../../api/resources.ts'
import { NAME_PATTERN } from '../../api/schema/patterns.ts'
import { decide } from './policy.ts'

const policy = (spec: DiscoveryPolicySpec): DiscoveryPolicy => ({
  ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'DiscoveryPolicy', metadata: { name: 'tags', namespace: 'plant' } },
  spec,
})

const seen = (more: Partial<DiscoveredDeviceSpec> = {}): DiscoveredDeviceSpec => ({
  ...{ protocol: 'ble', id: 'F4:02:AA:01', gateway: 'gw-1', address: {} },
  candidates: [
    { model: 'ruuvi-tag', score: 0.95, why: 'RAWv2 in its advertisement' },
    { model: 'other', score: 0.2, why: 'a name' },
  ],
  ...more,
})

const ruuvi = { models: ['ruuvi-tag'] }

describe('a discovery policy', () => {
  it('makes a device of what it matches, in its own namespace, and says why', () => {
    expect(decide(policy({ match: ruuvi }), seen(), 0)).toEqual({
      ...{ adopts: true, name: 'ruuvi-tag-f4-02-aa-01', model: 'ruuvi-tag', namespace: 'plant' },
      why: 'it resembles ruuvi-tag by 95 %: RAWv2 in its advertisement',
    })
  })

  it.each<[string, DiscoveryPolicySpec, Partial<DiscoveredDeviceSpec>, string]>([
    ['another protocol', { match: { ...ruuvi, protocols: ['lora'] } }, {}, 'its protocol is ble'],
    ['another gateway', { match: { ...ruuvi, gateways: ['gw-2'] } }, {}, 'gw-1 sees it'],
    ['another id', { match: { ...ruuvi, idPrefixes: ['f5:'] } }, {}, 'its id begins otherwise'],
    ['another model', { match: { models: ['other'] } }, {}, 'it resembles ruuvi-tag'],
    ['no likeness', { match: { idPrefixes: ['f4:'] } }, { candidates: [] }, 'it resembles no model'],
    [
      'too little likeness',
      { match: { ...ruuvi, minScore: 0.99 } },
      {},
      'it resembles ruuvi-tag by 95 %, 99 % are wanted',
    ],
    ['a person who does not want it', { match: ruuvi }, { ignore: true }, 'it is ignored by a person'],
    ['what is no device', { match: ruuvi }, { protocol: 'usb-serial' }, 'a usb-serial is no device'],
  ])('leaves %s alone, and says so', (_what, spec, more, why) => {
    expect(decide(policy(spec), seen(more), 0)).toEqual({ adopts: false, why })
  })

  it('names the model itself where the id is enough', () => {
    const spec = { match: { idPrefixes: ['f4:02'] }, model: 'own-model', name: 'cellar-{id}' }
    expect(decide(policy(spec), seen({ candidates: [] }), 0)).toMatchObject({
      ...{ adopts: true, name: 'cellar-f4-02-aa-01', model: 'own-model', why: 'its id begins with f4:02' },
    })
  })

  it('stops at its limit', () => {
    expect(decide(policy({ match: ruuvi, maxDevices: 3 }), seen(), 2).adopts).toBe(true)
    expect(decide(policy({ match: ruuvi, maxDevices: 3 }), seen(), 3)).toEqual({
      adopts: false,
      why: 'the policy has made 3 devices, of 3 at most',
    })
  })

  it('gives only names that Kubernetes takes, different ones for different long ids, whatever a device calls itself', () => {
    const text = fc.string({ unit: 'binary', maxLength: 256 })
    const template = fc.constantFrom('{model}-{id}', '{name}', 'x{gateway}.{nothing}{protocol}', '{id}')
    fc.assert(
      fc.property(text, text, template, (id, name, wanted) => {
        const verdict = decide(policy({ match: ruuvi, name: wanted }), seen({ id, name }), 0)
        if (verdict.adopts) {
          expect(verdict.name).toMatch(new RegExp(NAME_PATTERN))
          expect(verdict.name.length).toBeLessThanOrEqual(63)
        } else expect(verdict.why).toContain('nothing is left')
      }),
      { numRuns: 500 },
    )
    const long = (end: string) => decide(policy({ match: ruuvi }), seen({ id: 'a'.repeat(80) + end }), 0)
    expect(long('1')).not.toEqual(long('2'))
  })
})
