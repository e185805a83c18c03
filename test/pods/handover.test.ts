import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Device } from '../../api/resources.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, objectPath } from '../../cloudcore/kube/paths.ts'
import { type FarSide, farSide } from '../harness/far-side.ts'
import { counterModel } from '../harness/fleet.ts'
import { missingForHouse, PodHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

describe.skipIf(skipHouse)(`a device and its pod change gateways ${missingForHouse ?? ''}`, () => {
  let house: PodHouse
  let far: FarSide
  beforeAll(async () => {
    far = await farSide()
    house = await PodHouse.start({ gateways: ['gw-a', 'gw-b'] })
    await house.kube.create(collectionPath(DEVICE_MODELS, house.namespace), {
      ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'DeviceModel', metadata: { name: 'counter' }, spec: counterModel },
    })
    const modbus = { tcp: { host: '127.0.0.1', port: far.port }, unit: 1, timeout: '10s' }
    await house.kube.create(collectionPath(DEVICES, house.namespace), {
      ...{ apiVersion: 'sluice.dev/v1alpha1', kind: 'Device', metadata: { name: 'meter' } },
      spec: { model: 'counter', nodeName: 'gw-a', poll: { every: '100ms' }, modbus, desired: { speed: 7 } },
    })
    await served('gw-a')
    await house.createPod('reader', {}, { annotations: { 'sluice.dev/device': 'meter' } })
    await house.running('reader', 'gw-a')
  }, 90_000)
  afterAll(async () => {
    await house[Symbol.asyncDispose]()
    await far[Symbol.asyncDispose]()
  }, 90_000)
  beforeEach(() => house.tellOnFailure())

  const device = () => house.kube.get<Device>(objectPath(DEVICES, 'meter', house.namespace))
  const served = (by: string) =>
    eventually(async () => {
      const { status } = await device()
      return status?.gateway === by && status.state === 'online'
    }, `${by} serves the meter`)
  const move = (to: string) =>
    house.kube.patch(objectPath(DEVICES, 'meter', house.namespace), 'merge', { spec: { nodeName: to } })
  /** Samples how often the pod runs until it runs on `to`. */
  const follows = async (to: string) => {
    let most = 0
    const watching = setInterval(() => (most = Math.max(most, house.processes('reader').length)), 50)
    const pod = await house.running('reader', to, 60_000).finally(() => clearInterval(watching))
    await eventually(() => house.processes('reader').length === 1, 'one process')
    expect(most).toBe(1)
    return pod
  }

  it('takes the pod along once the device is there, and what was desired is not written again', async () => {
    const before = (await device()).status?.twins?.find(({ name }) => name === 'speed')
    expect(['applied', 'synced']).toContain(before?.state)
    await move('gw-b')
    await served('gw-b')
    const pod = await follows('gw-b')
    expect(pod.metadata.annotations?.['sluice.dev/placed-because']).toContain('the device')
    const after = (await device()).status?.twins?.find(({ name }) => name === 'speed')
    expect(after?.desired?.version).toBe(before?.desired?.version)
    const uids = house.begun('reader')
    expect([uids.length, new Set(uids).size]).toEqual([2, 2])
  }, 90_000)

  it('neither loses nor doubles the pod when the link breaks in between', async () => {
    const old = await house.running('reader', 'gw-b')
    await move('gw-a')
    house.gateway('gw-b').relay.unplugged = true
    await served('gw-a')
    // Nobody knows of a gateway that is silent whether it has ended the pod: until it says so there is no other.
    await eventually(async () => (await house.pod('reader'))?.metadata.deletionTimestamp !== undefined, 'asked to end')
    const lone = await house.pods()
    expect(lone.filter(({ spec }) => spec.nodeName === 'gw-a')).toEqual([])
    expect(house.processes('reader')).toHaveLength(1)
    house.gateway('gw-b').relay.unplugged = false
    const pod = await follows('gw-a')
    expect(pod.metadata.uid).not.toBe(old.metadata.uid)
    expect(await house.pods()).toHaveLength(1)
    const uids = house.begun('reader')
    expect(new Set(uids).size).toBe(uids.length)
  }, 120_000)
})
