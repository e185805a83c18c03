import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BatchBody } from '../../api/link/messages.ts'
import type { PolicyStage } from '../../api/schema/policy.ts'
import { deviceObject, modelObject, Plant, temporaryDirectory } from '../test-helpers/plant.ts'
import { deviceView } from '../twin/views.ts'
import { stretchOf } from './stretch.ts'

let directory: ReturnType<typeof temporaryDirectory>
let plant: Plant
const stage: PolicyStage = { name: 'saver', when: [{ onBattery: true }], poll: 10, report: 5, pause: ['deferrable'] }

beforeEach(async () => {
  directory = temporaryDirectory()
  plant = new Plant(directory.path)
  await plant.put(
    modelObject(),
    deviceObject('alarm', { spec: { importance: 'critical' } }),
    deviceObject('pump'),
    deviceObject('camera', { spec: { importance: 'deferrable' } }),
  )
  await plant.clock.advance(10)
})
afterEach(async () => {
  await plant.stop()
  directory[Symbol.dispose]()
})

const begin = async (given: PolicyStage | undefined) => {
  plant.core.stretch(given === undefined ? undefined : (key, spec) => stretchOf(key, spec, given, undefined))
  await plant.clock.advance(1)
}
const served = () =>
  new Map(plant.fake.bindings.map(({ key, device, revision }) => [key, { poll: device.poll?.every, revision }]))
const view = (name: string) => deviceView(plant.core.engine.devices.get(`plant/${name}`)!, 'gw-1')

describe('a stage at a gateway', () => {
  it('gives mappers longer periods, takes deferrable devices away, and leaves critical ones untouched', async () => {
    const before = served()
    await begin(stage)
    const during = served()
    expect(during.get('plant/alarm')).toEqual(before.get('plant/alarm'))
    expect(during.get('plant/pump')).toMatchObject({ poll: '10000ms' })
    expect(during.has('plant/camera')).toBe(false)
    await begin(undefined)
    expect(served()).toEqual(before)
  })

  it('is applied once: the same stage again hands nothing to a mapper', async () => {
    await begin(stage)
    const { configured } = plant.fake
    await begin(stage)
    await begin({ ...stage, name: 'saver' })
    expect(plant.fake.configured).toBe(configured)
  })

  it('lets values be as old as the longer periods make them, and starts anew when it ends', async () => {
    plant.read('pump', 'level', 1)
    await begin(stage)
    await plant.clock.advance(29_000)
    expect(view('pump').twins[0]?.quality).toBe('good')
    await begin(undefined)
    await plant.clock.advance(3_000)
    expect(view('pump').twins[0]?.quality).toBe('good')
    await plant.clock.advance(5_000)
    expect(view('pump').twins[0]?.quality).toBe('stale')
  })

  it('reports less often, the newest value when it is due', async () => {
    await begin(stage)
    plant.read('pump', 'level', 1)
    await plant.clock.advance(1000)
    plant.read('pump', 'level', 2)
    plant.read('pump', 'level', 3)
    await plant.clock.advance(3000)
    // Others turn stale meanwhile, without a value.
    const levels = () =>
      plant
        .outbox()
        .flatMap(({ r = [] }: BatchBody) => r.map(([, , value]) => value))
        .filter((value) => value !== null)
    expect(levels()).toEqual([1])
    await plant.clock.advance(2000)
    expect(levels()).toEqual([1, 3])
  })

  it('says why a device is left alone, and refuses writes to it with that reason', async () => {
    await begin(stage)
    expect(view('camera')).toMatchObject({ state: 'paused', reason: "paused by stage saver of the gateway's policy" })
    await plant.clock.advance(500)
    const reached = plant.outbox().flatMap((batch) => batch.s ?? [])
    expect(reached.at(-1)?.slice(1)).toMatchObject([
      0,
      expect.any(Number),
      "paused by stage saver of the gateway's policy",
    ])
    plant.core.desire('plant/camera', 'setpoint', 5, 'test')
    await plant.clock.advance(100)
    expect(view('camera').twins.find(({ name }) => name === 'setpoint')).toMatchObject({
      state: 'rejected',
      stateReason: "the device is paused by stage saver of the gateway's policy",
    })
    await plant.clock.advance(60_000)
    expect(view('camera').twins[0]?.quality).not.toBe('stale')
  })

  it('holds for devices that come while it is in force', async () => {
    await begin(stage)
    await plant.put(deviceObject('late'), deviceObject('later', { spec: { importance: 'deferrable' } }))
    await plant.clock.advance(10)
    expect(served().get('plant/late')).toMatchObject({ poll: '10000ms' })
    expect(view('later').state).toBe('paused')
  })
})
