import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { boundedItem, isSightedItem } from '../../api/link/sighted.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { DeviceBinding, Sighting } from '../../mappers/sdk/mapper.ts'
import { MAX_SIGHTINGS, Sightings } from './sightings.ts'

let clock: VirtualClock
let told: number
let sightings: Sightings

beforeEach(() => {
  clock = new VirtualClock()
  told = 0
  sightings = new Sightings({ clock, onChange: () => told++ })
})

const seen = (id: string, more: Partial<Sighting> = {}): Sighting => ({
  ...{ id, address: { mac: id }, candidates: [], facts: {}, atMs: clock.now() },
  ...more,
})

const binding = (device: object): DeviceBinding => ({
  key: 'n/a',
  device: { model: 'm', ...device },
  model: { properties: [] },
  revision: '1',
})

describe('sightings of a gateway', () => {
  it('are one a device, the newest, and counted', () => {
    sightings.sighted('ble', [seen('a', { rssiDbm: -80 })])
    sightings.sighted('ble', [seen('b'), seen('a', { rssiDbm: -60 })])
    sightings.sighted('lora', [seen('a')])
    expect(sightings.list().map(({ protocol, id, count }) => [protocol, id, count])).toEqual([
      ['lora', 'a', 1],
      ['ble', 'a', 2],
      ['ble', 'b', 1],
    ])
    expect(sightings.list()[1]?.rssiDbm).toBe(-60)
  })

  it('are told anew seldom while only their signal moves', async () => {
    for (let second = 0; second < 240; second++) {
      sightings.sighted('ble', [seen('a', { rssiDbm: -second })])
      await clock.advance(1000)
    }
    expect(told).toBe(2)
  })

  it('are told once more when something changed just after the last time, even if nothing is seen any more', async () => {
    sightings.sighted('ble', [seen('a')])
    const { change } = sightings.since(0)
    await clock.advance(1000)
    sightings.sighted('ble', [seen('a', { name: 'Tag' })])
    expect(sightings.since(change).items).toEqual([])
    await clock.advance(60_000)
    expect(told).toBe(2)
    expect(sightings.since(change).items.map(({ name }) => name)).toEqual(['Tag'])
  })

  it('leave out what is configured already, however its address is written', () => {
    sightings.sighted('ble', [seen('AA:BB'), seen('cc')])
    sightings.configured([binding({ ble: { mac: 'aa:bb', adapter: 'hci1' } }), binding({ lora: { mac: 'cc' } })])
    sightings.sighted('ble', [seen('AA:BB')])
    expect(sightings.list().map(({ id }) => id)).toEqual(['cc'])
  })

  it('are forgotten after a day and never more than a thousand', async () => {
    for (let i = 0; i < MAX_SIGHTINGS + 5; i++) sightings.sighted('ble', [seen(`d${i}`)])
    expect(sightings.list()).toHaveLength(MAX_SIGHTINGS)
    expect(sightings.list().at(-1)?.id).toBe('d5')
    await clock.advance(86_400_001)
    expect(sightings.list()).toEqual([])
  })

  it('of ten thousand invented devices cost a thousand places, and a device that is known stays known', async () => {
    sightings.configured([binding({ ble: { mac: 'own' } })])
    for (let i = 0; i < 10_000; i++) {
      sightings.sighted('ble', [seen(`d${i}`), seen('own'), seen('real')])
      if (i % 100 === 0) await clock.advance(1000)
    }
    expect(sightings.list()).toHaveLength(MAX_SIGHTINGS)
    expect(sightings.list()[0]).toMatchObject({ id: 'real', count: 10_000 })
    expect(sightings.since(0).items.length).toBeLessThanOrEqual(MAX_SIGHTINGS)
    sightings.withdrawn('ble', ['real', 'nobody'])
    expect(sightings.list().some(({ id }) => id === 'real')).toBe(false)
  })

  it('fit the link whatever a protocol says', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ minLength: 300, maxLength: 700 }))
    const told = fc.record({
      id: text,
      address: fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue())),
      name: text,
      candidates: fc.array(fc.record({ model: text, score: fc.double(), why: text }), { maxLength: 20 }),
      facts: fc.dictionary(text, text, { maxKeys: 40 }),
      rssiDbm: fc.double(),
      atMs: fc.double(),
    })
    fc.assert(
      fc.property(told, (sighting) => {
        const item = boundedItem('ble', sighting as Sighting, 1)
        if (item !== undefined) expect(isSightedItem(JSON.parse(JSON.stringify(item)))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})
