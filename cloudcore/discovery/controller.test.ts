import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { SightedItem } from '../../api/link/sighted.ts'
import type { Device, DiscoveredDevice, DiscoveredDeviceStatus, DiscoveryPolicy } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import { DiscoveryController, MAX_DISCOVERED_OF_GATEWAY } from './controller.ts'
import { discoveredName } from './name.ts'
import type { Approval, DiscoveryObjects } from './objects.ts'

/** Objects in memory; every change is told to the controller as a watch would. */
class FakeObjects implements DiscoveryObjects {
  readonly objects = new Map<string, DiscoveredDevice>()
  readonly devices = new Map<string, Device>()
  readonly models = new Set(['default/tag'])
  readonly policies = new Map<string, NonNullable<DiscoveryPolicy['status']>>()
  readonly writes: string[] = []
  tell: (object: DiscoveredDevice) => void = () => {}
  #uids = 0

  async create(object: DiscoveredDevice) {
    const key = `${object.metadata.namespace}/${object.metadata.name}`
    if (this.objects.has(key)) throw new SluiceError('SLUICE_KUBE_EXISTS', key)
    this.writes.push('create')
    this.put(key, { ...object, metadata: { ...object.metadata, uid: `u${++this.#uids}`, generation: 1 } })
  }
  async update(namespace: string, name: string, seen: object) {
    this.writes.push('update')
    const object = this.#get(namespace, name)
    this.put(`${namespace}/${name}`, { ...object, spec: { ...object.spec, ...seen } })
  }
  async updateStatus(namespace: string, name: string, status: DiscoveredDeviceStatus) {
    this.writes.push('status')
    const object = this.#get(namespace, name)
    this.put(`${namespace}/${name}`, { ...object, status: { ...object.status, ...status } })
  }
  async approve(namespace: string, name: string, generation: number, approve: Approval) {
    const object = this.#get(namespace, name)
    if (object.metadata.generation !== generation) throw new SluiceError('SLUICE_KUBE_REFUSED', 'changed')
    this.put(`${namespace}/${name}`, { ...object, spec: { ...object.spec, approve } })
  }
  async policyStatus(policy: DiscoveryPolicy, status: NonNullable<DiscoveryPolicy['status']>) {
    this.policies.set(policy.metadata.name, status)
  }
  async remove(namespace: string, name: string) {
    this.objects.delete(`${namespace}/${name}`)
  }
  hasModel = async (namespace: string, name: string) => this.models.has(`${namespace}/${name}`)
  async createDevice(device: Device) {
    const key = `${device.metadata.namespace}/${device.metadata.name}`
    if (this.devices.has(key)) throw new SluiceError('SLUICE_KUBE_EXISTS', key)
    this.devices.set(key, device)
  }
  device = async (namespace: string, name: string) => this.devices.get(`${namespace}/${name}`)

  put(key: string, object: DiscoveredDevice) {
    this.objects.set(key, object)
    this.tell(object)
  }
  #get(namespace: string, name: string): DiscoveredDevice {
    const object = this.objects.get(`${namespace}/${name}`)
    if (object === undefined) throw new SluiceError('SLUICE_KUBE_NOT_FOUND', name)
    return object
  }
}

let clock: VirtualClock
let api: FakeObjects
let events: EventNote[]
let troubles: string[]
let controller: DiscoveryController
let stop: AbortController

function start() {
  stop = new AbortController()
  controller = new DiscoveryController({
    objects: api,
    clock,
    signal: stop.signal,
    record: (note) => events.push(note),
    onTrouble: (_, { code }) => troubles.push(code),
    synced: Promise.resolve(),
  })
  api.tell = (object) => controller.upsert(object)
  for (const object of api.objects.values()) controller.upsert(object)
}

beforeEach(() => {
  clock = new VirtualClock()
  api = new FakeObjects()
  events = []
  troubles = []
  start()
})
afterEach(() => stop.abort())

const item = (id: string, more: Partial<SightedItem> = {}): SightedItem => ({
  ...{ protocol: 'ble', id, address: { mac: id }, facts: {}, atMs: clock.now(), count: 1 },
  candidates: [{ model: 'tag', score: 0.9, why: 'its format' }],
  ...more,
})
const keyOf = (id: string, gateway = 'gw') => `default/${discoveredName(gateway, 'ble', id)}`
const found = (id: string, gateway?: string) => api.objects.get(keyOf(id, gateway))!

function patch(id: string, spec: Partial<DiscoveredDevice['spec']>) {
  api.put(keyOf(id), { ...found(id), spec: { ...found(id).spec, ...spec } })
}

describe('names of discovered devices', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 300 })
  it('are valid labels and differ for every gateway, protocol and id', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(text, text, text), { selector: (parts) => JSON.stringify(parts) }), (all) => {
        const names = all.map((parts) => discoveredName(...parts))
        expect(new Set(names).size).toBe(all.length)
        for (const name of names) expect(name).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/)
      }),
    )
  })

  it('can be read', () => {
    expect(discoveredName('gw', 'ble', 'AA:BB:0C')).toMatch(/^ble-aa-bb-0c-[0-9a-f]{10}$/)
  })
})

describe('discovered devices', () => {
  it('appear with what was seen, of which gateway, and their state', async () => {
    controller.sighted('gw', [item('aa', { name: 'Tag 1', rssiDbm: -70 })])
    await clock.advance(10)
    expect(found('aa')).toMatchObject({
      metadata: { labels: { 'sluice.dev/gateway': 'gw' } },
      spec: { protocol: 'ble', id: 'aa', gateway: 'gw', name: 'Tag 1', address: { mac: 'aa' } },
      status: { state: 'new', resembles: 'tag', sightings: 1, rssiDbm: -70 },
    })
  })

  it('are written at most once in ten seconds, with the newest', async () => {
    for (let count = 1; count <= 30; count++) {
      controller.sighted('gw', [item('aa', { count, facts: { last: `${count}` } })])
      await clock.advance(1000)
    }
    await clock.advance(10_000)
    expect(api.writes.filter((write) => write === 'status').length).toBeLessThanOrEqual(5)
    expect(api.writes.filter((write) => write === 'update').length).toBeLessThanOrEqual(4)
    expect(found('aa')).toMatchObject({ spec: { facts: { last: '30' } }, status: { sightings: 30 } })
  })

  it('keep a gateway out of what another one saw', async () => {
    controller.sighted('gw', [item('aa')])
    controller.sighted('other', [item('aa', { address: { mac: 'evil' } })])
    await clock.advance(10)
    expect(found('aa').spec.address).toEqual({ mac: 'aa' })
    expect(found('aa', 'other').spec).toMatchObject({ gateway: 'other', address: { mac: 'evil' } })
  })

  it('become a device when they are approved, and nothing does so by itself', async () => {
    controller.sighted('gw', [item('aa')])
    await clock.advance(20_000)
    expect(api.devices.size).toBe(0)
    patch('aa', { approve: { name: 'tag-1', model: 'tag' } })
    await clock.advance(10)
    expect(api.devices.get('default/tag-1')).toMatchObject({
      metadata: { labels: { 'sluice.dev/discovered': discoveredName('gw', 'ble', 'aa') } },
      spec: { model: 'tag', nodeName: 'gw', ble: { mac: 'aa' } },
    })
    expect(found('aa').status).toMatchObject({
      state: 'approved',
      device: 'default/tag-1',
      conditions: [{ type: 'Approved', status: 'True' }],
    })
    expect(events.map(({ type, reason }) => [type, reason])).toEqual([['Normal', 'DeviceMade']])
  })

  it('say why an approval cannot be done, once, and do it when it can', async () => {
    controller.sighted('gw', [item('aa')])
    await clock.advance(10)
    patch('aa', { approve: { name: 'tag-1', model: 'later' } })
    await clock.advance(200_000)
    expect(found('aa').status).toMatchObject({
      state: 'new',
      conditions: [{ status: 'False', reason: 'ModelNotFound' }],
    })
    expect(events.map(({ reason }) => reason)).toEqual(['ModelNotFound'])
    api.models.add('default/later')
    await clock.advance(61_000)
    expect(found('aa').status).toMatchObject({ state: 'approved', conditions: [{ status: 'True' }] })
  })

  it('never become a device by a word of the gateway that is no protocol', async () => {
    const name = discoveredName('gw', 'desired', 'aa')
    controller.sighted('gw', [item('aa', { protocol: 'desired', count: Number.MAX_SAFE_INTEGER })])
    await clock.advance(10)
    const object = api.objects.get(`default/${name}`)!
    expect(object.status?.sightings).toBe(1e12)
    api.put(`default/${name}`, { ...object, spec: { ...object.spec, approve: { name: 'x', model: 'tag' } } })
    await clock.advance(10)
    expect(api.devices.size).toBe(0)
    expect(events.map(({ reason }) => reason)).toEqual(['ProtocolUnknown'])
  })

  it('never take over a device of somebody else', async () => {
    const device: Device = {
      ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'Device', metadata: { name: 'tag-1', namespace: 'default' } },
      spec: { model: 'tag', nodeName: 'elsewhere' },
    }
    api.devices.set('default/tag-1', device)
    controller.sighted('gw', [item('aa')])
    await clock.advance(10)
    patch('aa', { approve: { name: 'tag-1', model: 'tag' } })
    await clock.advance(10)
    expect(api.devices.get('default/tag-1')).toBe(device)
    expect(found('aa').status?.conditions?.[0]).toMatchObject({ status: 'False', reason: 'DeviceExists' })
  })

  it('are gone after a day and new again when they are back, but not when they are ignored', async () => {
    controller.sighted('gw', [item('aa'), item('bb')])
    await clock.advance(10)
    patch('bb', { ignore: true })
    await clock.advance(86_400_000 + 80_000)
    expect(found('aa').status?.state).toBe('gone')
    controller.sighted('gw', [item('aa'), item('bb')])
    await clock.advance(11_000)
    expect(found('aa').status?.state).toBe('new')
    expect(found('bb').status?.state).toBe('ignored')
  })

  it('go on from where they were after a restart of the cloud core', async () => {
    controller.sighted('gw', [item('aa', { count: 5 })])
    await clock.advance(10)
    patch('aa', { approve: { name: 'tag-1', model: 'tag' } })
    await clock.advance(10)
    stop.abort()
    api.writes.length = 0
    start()
    controller.sighted('gw', [item('aa', { count: 2 })])
    await clock.advance(11_000)
    expect(found('aa')).toMatchObject({
      spec: { approve: { name: 'tag-1' } },
      status: { state: 'approved', sightings: 7 },
    })
    expect(api.writes).toEqual(['status'])
    expect(events).toHaveLength(1)
  })

  it('are made again when somebody deleted one that is still seen', async () => {
    controller.sighted('gw', [item('aa')])
    await clock.advance(10)
    api.objects.delete(keyOf('aa'))
    controller.removed(keyOf('aa'))
    controller.sighted('gw', [item('aa', { count: 2 })])
    await clock.advance(10_010)
    expect(found('aa').status?.state).toBe('new')
  })

  it('are bounded for each gateway; those gone make way', async () => {
    const many = Array.from({ length: MAX_DISCOVERED_OF_GATEWAY + 1 }, (_, i) => item(`d${i}`))
    controller.sighted('gw', many)
    controller.sighted('gw', many)
    expect(controller.size).toBe(MAX_DISCOVERED_OF_GATEWAY)
    expect(troubles).toEqual(['SLUICE_DISCOVERY_FULL'])
    controller.sighted('other', [item('x')])
    expect(controller.size).toBe(MAX_DISCOVERED_OF_GATEWAY + 1)
    await clock.advance(86_400_000 + 80_000)
    controller.sighted('gw', [item('fresh')])
    await clock.advance(20_000)
    expect(controller.size).toBe(MAX_DISCOVERED_OF_GATEWAY + 1)
    expect(found('fresh').status?.state).toBe('new')
  })
})

describe('policies', () => {
  const tags = (spec: Partial<DiscoveryPolicy['spec']> = {}): DiscoveryPolicy => ({
    ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'DiscoveryPolicy', metadata: { name: 'tags', namespace: 'default' } },
    spec: { match: { models: ['tag'] }, ...spec },
  })
  const tag = (id: string): SightedItem => item(id, { candidates: [{ model: 'tag', score: 0.9, why: 'its format' }] })

  it('approve as a person would, with an Event of their own and a count', async () => {
    controller.policy(tags())
    controller.sighted('gw', [tag('aa'), item('bb', { candidates: [] })])
    await clock.advance(20_000)
    expect([...api.devices.keys()]).toEqual(['default/tag-aa'])
    expect(found('aa').spec.approve).toEqual({
      ...{ name: 'tag-aa', model: 'tag', namespace: 'default', by: 'policy default/tags' },
    })
    expect(found('aa').status?.state).toBe('approved')
    expect(found('bb').status?.state).toBe('new')
    expect(events.map(({ subject, reason }) => `${subject.kind} ${reason}`)).toEqual([
      'DiscoveryPolicy Adopted',
      'DiscoveredDevice DeviceMade',
    ])
    expect(events[0]?.message).toContain(
      'seen by gw, became device default/tag-aa: it resembles tag by 90 %: its format',
    )
    expect(api.policies.get('tags')).toMatchObject({ adopted: 1, lastDevice: 'default/tag-aa' })
  })

  it('look at what was there before them, and at nothing while they are suspended or gone', async () => {
    controller.sighted('gw', [tag('aa')])
    await clock.advance(10)
    controller.policy(tags({ suspend: true }))
    await clock.advance(100_000)
    expect(api.devices.size).toBe(0)
    controller.policy(tags())
    await clock.advance(20_000)
    expect(api.devices.size).toBe(1)
    controller.policyRemoved('default/tags')
    controller.sighted('gw', [tag('bb')])
    await clock.advance(100_000)
    expect(api.devices.size).toBe(1)
  })

  it('leave alone what a person ignores or approves otherwise', async () => {
    controller.sighted('gw', [tag('aa'), tag('bb')])
    await clock.advance(10)
    patch('aa', { ignore: true })
    patch('bb', { approve: { name: 'mine', model: 'tag' } })
    controller.policy(tags())
    await clock.advance(100_000)
    expect([...api.devices.keys()]).toEqual(['default/mine'])
  })

  it('do not adopt a device again that a person deleted', async () => {
    controller.policy(tags())
    controller.sighted('gw', [tag('aa')])
    await clock.advance(20_000)
    api.devices.clear()
    controller.sighted('gw', [tag('aa')])
    await clock.advance(200_000)
    expect(api.devices.size).toBe(0)
  })

  it('are slow when a crowd of invented devices comes, and stop at their limit with one Event', async () => {
    controller.policy(tags({ maxDevices: 25 }))
    controller.sighted(
      'gw',
      Array.from({ length: 500 }, (_, n) => tag(`d${n}`)),
    )
    await clock.advance(20_000)
    // Twenty at once, then ten a minute.
    expect(api.devices.size).toBeGreaterThanOrEqual(20)
    expect(api.devices.size).toBeLessThanOrEqual(23)
    await clock.advance(200_000)
    expect(api.devices.size).toBe(25)
    const full = events.filter(({ reason }) => reason === 'PolicyFull')
    expect(new Set(full.map(({ message }) => message)).size).toBe(1)
  })
})
