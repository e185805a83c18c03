import { describe, expect, it } from 'vitest'
import type { Json } from '../../api/resources.ts'
import { type Discovered, Finds, readFound } from './finds.ts'

const candidate = { model: 'ruuvi-tag', score: 0.9, why: 'company id 0x0499' }
const sighting = { protocol: 'ble', id: 'aa:bb', address: { mac: 'aa:bb' }, candidates: [candidate], facts: {} }
const object = {
  metadata: { name: 'gw-1-ble-aabb', namespace: 'plant' },
  spec: { protocol: 'ble', id: 'aa:bb', gateway: 'gw-1', address: { mac: 'aa:bb' }, candidates: [candidate] },
  status: { state: 'new' },
}

describe('what was found', () => {
  it('reads the same from an agent and from a cloud core', () => {
    const both = { protocol: 'ble', model: 'ruuvi-tag', candidates: [candidate], address: { mac: 'aa:bb' } }
    expect(readFound(sighting)).toEqual({ ...both, id: 'aa:bb' })
    expect(readFound(object)).toEqual({ ...both, id: 'gw-1-ble-aabb', gateway: 'gw-1' })
  })

  it('is nothing when somebody has decided, or when it cannot be read', () => {
    expect(readFound({ ...object, status: { state: 'approved' } })).toBeUndefined()
    for (const strange of [null, 'x', 5, [], {}, { protocol: 'ble' }]) expect(readFound(strange)).toBeUndefined()
  })

  it('is told once, to those who want to hear it, and looked for again after an error', async () => {
    const told: Discovered[] = []
    let wanted = false
    let answer: () => readonly Json[] = () => [sighting]
    const finds = new Finds({ ask: async () => answer(), wanted: () => wanted, tell: (found) => told.push(found) })
    const { signal } = new AbortController()
    await finds.look(signal)
    expect(told).toEqual([])
    wanted = true
    await finds.look(signal)
    await finds.look(signal)
    expect(told.map(({ id }) => id)).toEqual(['aa:bb'])
    answer = () => {
      throw new Error('away')
    }
    await finds.look(signal)
    answer = () => [sighting, { ...sighting, id: 'cc:dd' }]
    await finds.look(signal)
    expect(told.map(({ id }) => id)).toEqual(['aa:bb', 'cc:dd'])
  })
})
