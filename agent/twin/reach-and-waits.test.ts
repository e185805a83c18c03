import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BatchBody } from '../../api/link/messages.ts'
import { deviceObject, modelObject, Plant, temporaryDirectory } from '../test-helpers/plant.ts'
import { deviceView } from './views.ts'

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

describe('how a device is heard', () => {
  const heard = (rssiDbm: number, online = true) =>
    plant.fake.host!.reachability([{ device: 'plant/p1', online, atMs: plant.clock.now(), rssiDbm }])
  const rows = () => plant.outbox().flatMap((batch: BatchBody) => batch.s ?? [])

  it('is told with its figures, at most every ten seconds, and at once when it comes or goes', async () => {
    await plant.put(modelObject(), deviceObject('p1'))
    for (let second = 0; second < 60; second++) {
      heard(second % 2 === 0 ? -60 : -80)
      await plant.clock.advance(1000)
    }
    expect(rows().length).toBeGreaterThanOrEqual(5)
    expect(rows().length).toBeLessThanOrEqual(7)
    expect(rows()[0]).toEqual([0, 1, expect.any(Number), null, null, null, { rssiDbm: -60 }])
    const before = rows().length
    heard(-60, false)
    heard(-60, true)
    await plant.clock.advance(100)
    expect(rows().length).toBe(before + 2)
  })

  it('is not told again while it only trembles, and the last figure is told when the pause is over', async () => {
    await plant.put(modelObject(), deviceObject('p1'))
    for (const rssiDbm of [-60, -61, -62, -63, -61, -59, -58]) {
      heard(rssiDbm)
      await plant.clock.advance(10_000)
    }
    expect(rows()).toHaveLength(1)
    heard(-80)
    await plant.clock.advance(100)
    heard(-90)
    await plant.clock.advance(60_000)
    expect(rows().map((row) => row[6])).toEqual([{ rssiDbm: -60 }, { rssiDbm: -80 }, { rssiDbm: -90 }])
    expect(deviceView(plant.core.engine.devices.get('plant/p1')!, 'gw-1').link).toEqual({ rssiDbm: -90 })
  })

  it('is told with a count of what could not be used, every ten seconds however much that is', async () => {
    await plant.put(modelObject(), deviceObject('p1'))
    const wrong = () => {
      const about = { about: 'plant/p1', type: 'Warning', reason: 'MicFailure' } as const
      plant.fake.host!.event({ ...about, message: 'the key does not fit', unusable: true })
    }
    // Of a device that says nothing else that much is known at once.
    wrong()
    await plant.clock.advance(2000)
    const [, online, , reason, , , facts] = rows()[0]!
    expect([online, reason, facts]).toEqual([0, 'nothing it sent could be used so far', { unusable: 1 }])
    heard(-60)
    for (let second = 0; second < 30; second++) {
      for (let frame = 0; frame < 100; frame++) wrong()
      await plant.clock.advance(1000)
    }
    await plant.clock.advance(20_000)
    const counts = rows().map((row) => row[6]?.unusable)
    expect(counts[0]).toBe(1)
    expect(counts.at(-1)).toBe(3001)
    expect(counts.length).toBeLessThanOrEqual(7)
    expect(deviceView(plant.core.engine.devices.get('plant/p1')!, 'gw-1').link).toMatchObject({ unusable: 3001 })
    expect(plant.core.notices.list()).toMatchObject([{ reason: 'MicFailure', count: 3001 }])
    // A device that refuses has answered.
    const refused = { about: 'plant/p1', type: 'Warning', reason: 'ReadRefused', message: 'exception 2' } as const
    plant.fake.host!.event(refused)
    expect(plant.core.engine.devices.get('plant/p1')!.unusable).toBe(3001)
  })
})

describe('why a write waits', () => {
  it('is the reason of pending, for its version only, and gone when the write ends', async () => {
    await plant.put(modelObject(), deviceObject('p1', { desired: { setpoint: [5, 1] } }))
    const tell = (version: number, reason: string) =>
      plant.fake.host!.writeNews({ device: 'plant/p1', property: 'setpoint', version, reason })
    const setpoint = () => deviceView(plant.core.engine.devices.get('plant/p1')!, 'gw-1').twins[1]
    tell(7, 'of another version')
    expect(setpoint()).not.toHaveProperty('stateReason')
    tell(1, 'listens next about 10:31')
    tell(1, 'listens next about 10:35')
    expect(setpoint()).toMatchObject({ state: 'pending', stateReason: 'listens next about 10:35' })
    await plant.clock.advance(300)
    expect(plant.outbox().flatMap((batch: BatchBody) => batch.n ?? [])).toEqual([
      [0, 'setpoint', 1, expect.any(Number), 'listens next about 10:35'],
    ])
    plant.fake.writes[0]!.end({ state: 'applied', atMs: plant.clock.now() })
    await plant.clock.advance(0)
    expect(setpoint()?.stateReason).toBeUndefined()
    tell(1, 'too late')
    expect(setpoint()?.stateReason).toBeUndefined()
  })
})
