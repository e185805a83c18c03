import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { protocols } from '../../mappers/registry.ts'
import { deviceObject, modelObject, Plant, PUMP_MODEL, temporaryDirectory } from '../test-helpers/plant.ts'
import { deviceView } from '../twin/views.ts'
import { objectChecker } from './check-object.ts'

let directory: ReturnType<typeof temporaryDirectory>
let plant: Plant
beforeEach(() => {
  directory = temporaryDirectory()
  plant = new Plant(directory.path)
})
afterEach(async () => {
  await plant.stop()
  directory[Symbol.dispose]()
})

const narrower = { properties: [{ ...PUMP_MODEL.properties[1]!, max: 10 }] }
const view = () => deviceView(plant.core.engine.devices.get('plant/p1')!, 'gw-1')

describe('a model that turns invalid', () => {
  it('leaves the last good one in force, says so, and is taken when it is good again', async () => {
    await plant.put(modelObject(), deviceObject('p1'))
    plant.invalid.set('plant/pump', 'registers overlap')
    const refused = await plant.put(modelObject(narrower, 'pump', 2))
    expect(refused).toEqual([
      {
        kind: 'DeviceModel',
        key: 'plant/pump',
        rev: 'm2',
        ok: false,
        code: 'SLUICE_MODEL_BAD',
        message: 'registers overlap',
      },
    ])
    expect(view().twins.map(({ name }) => name)).toEqual(['level', 'setpoint'])
    expect([...plant.core.objects.refused.values()]).toMatchObject([
      { key: 'plant/pump', message: 'registers overlap' },
    ])
    expect(plant.core.objects.holds).toContainEqual(['DeviceModel', 'plant/pump', 'm1'])
    plant.invalid.clear()
    expect(await plant.put(modelObject(narrower, 'pump', 3))).toMatchObject([{ ok: true }])
    expect(view().twins.map(({ name }) => name)).toEqual(['setpoint'])
    expect(plant.core.objects.refused.size).toBe(0)
  })
})

describe('a device', () => {
  it('whose model is missing is invalid until the model comes, and then written what waits', async () => {
    await plant.put(deviceObject('p1', { desired: { setpoint: [5, 1] } }))
    expect(view()).toMatchObject({ state: 'invalid', reason: expect.stringContaining('pump') })
    await plant.put(modelObject())
    expect(plant.fake.bindings.map(({ key }) => key)).toEqual(['plant/p1'])
    expect(plant.fake.writes.map(({ command }) => command.value)).toEqual([5])
  })

  it('of a protocol this agent does not know is offline with the reason', async () => {
    const strange = deviceObject('p1')
    if (strange.kind !== 'Device') return
    const spec = { model: 'pump', carrierPigeon: {} }
    await plant.put(modelObject(), { ...strange, object: { ...strange.object, spec } })
    expect(view()).toMatchObject({ state: 'offline', reason: expect.stringContaining('no protocol') })
  })

  it('that is paused is taken from its mapper and keeps its last values', async () => {
    await plant.put(modelObject(), deviceObject('p1'))
    plant.read('p1', 'level', 3)
    await plant.put(deviceObject('p1', { spec: { paused: true } }))
    expect(plant.fake.bindings).toEqual([])
    await plant.clock.advance(60_000)
    expect(view()).toMatchObject({ state: 'paused', twins: [{ value: 3, quality: 'good' }, {}] })
  })

  it('that is deleted is gone, also after a restart', async () => {
    await plant.put(modelObject(), deviceObject('p1', { desired: { setpoint: [5, 1] } }))
    await plant.core.objects.apply({ upserts: [], deletes: [{ kind: 'Device', key: 'plant/p1', uid: 'uid-p1' }] })
    await plant.stop()
    plant = new Plant(directory.path)
    expect(plant.core.engine.devices.size).toBe(0)
    expect(plant.store.twins()).toEqual([])
  })

  it('is not deleted by a message about an older one of its name', async () => {
    await plant.put(modelObject(), deviceObject('p1', { uid: 'second' }))
    await plant.core.objects.apply({ upserts: [], deletes: [{ kind: 'Device', key: 'plant/p1', uid: 'first' }] })
    expect(plant.core.engine.devices.get('plant/p1')?.uid).toBe('second')
  })
})

describe('the checks of what comes over the link', () => {
  it('take a sound model and name what is wrong with another', async () => {
    const check = objectChecker(protocols)
    const sound = { properties: [{ name: 'v', type: 'float' as const, modbus: { input: 0, as: 'float32' } }] }
    expect(await check(modelObject(sound))).toBeUndefined()
    const broken = { properties: [{ name: 'v', type: 'float' as const, modbus: { input: -1 } }] }
    expect(await check(modelObject(broken))).toMatchObject({ severity: 'error' })
  })
})
