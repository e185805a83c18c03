import { expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { bind, MapperUnderTest } from '../../mappers/mqtt/host.test-helper.ts'
import { embedded } from '../broker/test-brokers.test-helper.ts'
import { DeviceState } from '../twin/device-state.ts'
import { SparkplugEdgeNode } from './sparkplug-edge-node.ts'

const PUMP: DeviceModelSpec = {
  properties: [
    { name: 'speed', type: 'int', access: 'readwrite' },
    { name: 'hot', type: 'bool' },
  ],
}

const AS_SPARKPLUG: DeviceModelSpec = {
  properties: [
    { name: 'speed', type: 'int', access: 'readwrite', mqtt: { metric: 'speed' } },
    { name: 'hot', type: 'bool', mqtt: { metric: 'hot' } },
  ],
}

it('one gateway is read and written by another over Sparkplug, in both directions and through deaths and rebirths', async () => {
  await using broker = await embedded()
  const spec = { model: 'pump', nodeName: 'gw-a' }
  const device = new DeviceState('plant/pump', { uid: 'u', generation: 1, spec, desired: {} })
  device.configure(spec, PUMP, 0)
  const say = (name: string, value: number | boolean) => {
    const property = device.properties.get(name)!
    const reported = { value, atMs: systemClock.now(), quality: 'good', order: { epoch: 1, seq: 1 } } as const
    property.twin = { ...property.twin, reported, known: reported }
  }
  say('speed', 3)
  say('hot', false)
  const desired: unknown[] = []
  let bdSeq: number | undefined
  using edge = new SparkplugEdgeNode({
    clock: systemClock,
    group: 'works',
    gateway: 'gw-a',
    storage: { get: () => bdSeq, put: (next) => (bdSeq = next) },
    devices: new Map([[device.key, device]]),
    desire: (key, property, value) => {
      desired.push([key, property, value])
      say('speed', Number(value))
      edge.reported(device, 'speed')
    },
  })
  edge.nextWill()
  edge.connected(broker.local)
  await using other = new MapperUnderTest(broker.local)
  // It comes after the birth: it has to ask for another.
  other.configure(bind(AS_SPARKPLUG, { sparkplug: { group: 'works', node: 'gw-a', device: 'plant:pump' } }))
  await other.value('speed', 3)
  await other.value('hot', false)
  say('hot', true)
  edge.reported(device, 'hot')
  await other.value('hot', true)
  expect(await other.write('speed', 9)).toMatchObject({ state: 'applied', readBack: 9 })
  expect(desired).toEqual([['plant/pump', 'speed', 9]])
  device.reach = { device: device.key, online: false, atMs: systemClock.now() }
  edge.reachability(device)
  const dead = await other.reading('speed', ({ reason }) => reason === 'the device has gone (DDEATH)')
  expect(dead).toMatchObject({ quality: 'stale' })
  expect(bdSeq).toBe(0)
})
