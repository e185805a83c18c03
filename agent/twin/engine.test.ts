import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deviceObject, modelObject, Plant, temporaryDirectory } from '../test-helpers/plant.ts'

let directory: ReturnType<typeof temporaryDirectory>
beforeEach(() => {
  directory = temporaryDirectory()
})
afterEach(() => directory[Symbol.dispose]())

const rows = (plant: Plant) => plant.outbox().flatMap((batch) => batch.r ?? [])
const ends = (plant: Plant) => plant.outbox().flatMap((batch) => batch.w ?? [])

async function pump(words = {}, clock?: Plant['clock']) {
  const plant = new Plant(directory.path, clock)
  await plant.put(modelObject(), deviceObject('p1', words))
  return plant
}

describe('readings', () => {
  it('become reports in the outbox when they change, and nothing when they do not', async () => {
    const plant = await pump()
    plant.read('p1', 'level', 1)
    await plant.clock.advance(500)
    plant.read('p1', 'level', 1)
    await plant.clock.advance(500)
    plant.read('p1', 'level', 2)
    await plant.clock.advance(500)
    expect(rows(plant).map((row) => row.slice(1, 3))).toEqual([
      ['level', 1],
      ['level', 2],
    ])
    await plant.stop()
  })

  it('of a property never share a batch, because a batch has one place in the order', async () => {
    const plant = await pump()
    for (const value of [1, 2, 3]) plant.read('p1', 'level', value)
    await plant.clock.advance(500)
    expect(plant.outbox().map((batch) => batch.r.length)).toEqual([1, 1, 1])
    expect(plant.property('p1', 'level').twin.reported?.value).toBe(3)
    await plant.stop()
  })

  it('that come faster than minInterval are held and the newest is told when it ends', async () => {
    const plant = await pump({ spec: { report: { minInterval: '2s' } } })
    plant.read('p1', 'level', 1)
    await plant.clock.advance(100)
    plant.read('p1', 'level', 2)
    await plant.clock.advance(100)
    plant.read('p1', 'level', 3)
    await plant.clock.advance(1500)
    expect(rows(plant).map((row) => row[2])).toEqual([1])
    await plant.clock.advance(1000)
    expect(rows(plant).map((row) => row[2])).toEqual([1, 3])
    await plant.stop()
  })

  it('of a device nobody knows are counted and dropped', async () => {
    const plant = await pump()
    plant.read('stranger', 'level', 1)
    expect(plant.core.engine.counters.unknownReadings).toBe(1)
    await plant.stop()
  })

  it('turn stale after staleAfter of silence, whatever the wall clock does, and good again with the next one', async () => {
    const plant = await pump({ spec: { poll: { every: '10s' } } })
    plant.read('p1', 'level', 1)
    await plant.clock.advance(1000)
    plant.clock.jumpWall(86_400_000)
    await plant.clock.advance(25_000)
    plant.clock.jumpWall(-2 * 86_400_000)
    expect(plant.property('p1', 'level').twin.reported?.quality).toBe('good')
    await plant.clock.advance(10_000)
    expect(plant.property('p1', 'level').twin.reported?.quality).toBe('stale')
    expect(plant.property('p1', 'level').twin.known?.value).toBe(1)
    plant.read('p1', 'level', 1)
    await plant.clock.advance(500)
    const level = rows(plant).filter((row) => row[1] === 'level')
    expect(level.map((row) => row[4] ?? 'good')).toEqual(['good', 'stale', 'good'])
    await plant.stop()
  })

  it('of what speaks when it wants turn stale after three of its own silences, unless somebody says how long', async () => {
    const plant = new Plant(directory.path)
    const properties = [
      { name: 'door', type: 'bool' as const, fake: 'heard' },
      { name: 'button', type: 'bool' as const, fake: 'heard', poll: { staleAfter: '20s' } },
      { name: 'asked', type: 'bool' as const, fake: 'read' },
    ]
    await plant.put(modelObject({ properties }), deviceObject('p1'))
    const quality = (name: string) => plant.property('p1', name).twin.reported?.quality
    for (let minute = 0; minute <= 40; minute += 10) {
      for (const { name } of properties) plant.read('p1', name, true)
      if (minute < 40) await plant.clock.advance(600_000)
    }
    await plant.clock.advance(10_000)
    expect(['door', 'button', 'asked'].map(quality)).toEqual(['good', 'good', 'stale'])
    await plant.clock.advance(1_700_000)
    expect(['door', 'button', 'asked'].map(quality)).toEqual(['good', 'stale', 'stale'])
    await plant.clock.advance(120_000)
    expect(quality('door')).toBe('stale')
    await plant.stop()
  })

  it('are shown as stale after a restart, with the value last known', async () => {
    const before = await pump()
    before.read('p1', 'level', 7)
    await before.clock.advance(100)
    await before.stop()
    const after = new Plant(directory.path)
    expect(after.property('p1', 'level').twin.known?.value).toBe(7)
    expect(after.property('p1', 'level').twin.reported?.quality).toBe('stale')
    await after.stop()
  })
})

describe('desired values', () => {
  it('are written once, and their end is told with the version', async () => {
    const plant = await pump({ desired: { setpoint: [50, 3] } })
    expect(plant.fake.writes.map(({ command }) => [command.value, command.version])).toEqual([[50, 3]])
    plant.fake.writes[0]!.end({ state: 'applied', atMs: 5 })
    await plant.clock.advance(100)
    await plant.put(deviceObject('p1', { desired: { setpoint: [50, 3] }, rev: 'again' }))
    expect(plant.fake.writes).toHaveLength(1)
    expect(ends(plant)).toEqual([[0, 'setpoint', 3, 'applied', 5]])
    await plant.stop()
  })

  it('out of limits, of unknown properties and of read-only ones are rejected before the wire', async () => {
    const plant = await pump({ desired: { setpoint: [101, 1], level: [1, 2], nothing: [1, 3] } })
    await plant.clock.advance(100)
    expect(plant.fake.writes).toHaveLength(0)
    expect(ends(plant).map((row) => [row[1], row[2], row[3]])).toEqual([
      ['setpoint', 1, 'rejected'],
      ['level', 2, 'rejected'],
      ['nothing', 3, 'rejected'],
    ])
    await plant.stop()
  })

  it('that are older than what is in force are ignored', async () => {
    const plant = await pump({ desired: { setpoint: [50, 5] } })
    await plant.put(deviceObject('p1', { desired: { setpoint: [40, 4] } }))
    expect(plant.property('p1', 'setpoint').twin.desired?.value).toBe(50)
    await plant.stop()
  })

  it('are replaced by newer versions while they wait, and each ends once', async () => {
    const plant = await pump({ desired: { setpoint: [1, 1] } })
    await plant.put(deviceObject('p1', { desired: { setpoint: [2, 2] } }))
    await plant.put(deviceObject('p1', { desired: { setpoint: [3, 3] } }))
    expect(plant.fake.writes).toHaveLength(1)
    expect(plant.fake.writes[0]!.signal.aborted).toBe(true)
    plant.fake.writes[0]!.end({ state: 'applied', atMs: 1 })
    await plant.clock.advance(0)
    plant.fake.writes[1]!.end({ state: 'applied', atMs: 2 })
    await plant.clock.advance(100)
    expect(plant.fake.writes.map(({ command }) => command.value)).toEqual([1, 3])
    expect(ends(plant).map((row) => [row[2], row[3]])).toEqual([
      [2, 'rejected'],
      [1, 'applied'],
      [3, 'applied'],
    ])
    await plant.stop()
  })

  it('end as timedOut when the mapper never answers, and a late answer changes nothing', async () => {
    const plant = await pump({ desired: { setpoint: [1, 1] } })
    await plant.clock.advance(40_000)
    plant.fake.writes[0]!.end({ state: 'applied', atMs: 1 })
    await plant.clock.advance(1000)
    expect(ends(plant).map((row) => [row[2], row[3]])).toEqual([[1, 'timedOut']])
    await plant.stop()
  })

  it('that were pending at a restart are resumed within their deadline and timed out after it', async () => {
    const first = await pump({ desired: { setpoint: [1, 1] } })
    await first.stop()
    first.clock.jumpWall(10_000)
    const second = new Plant(directory.path, first.clock)
    await second.clock.advance(0)
    expect(second.fake.writes.map(({ command }) => command.version)).toEqual([1])
    expect(second.fake.writes[0]!.command.deadlineMs - second.clock.monotonic()).toBeLessThanOrEqual(20_000)
    await second.stop()
    second.clock.jumpWall(86_400_000)
    const third = new Plant(directory.path, second.clock)
    await third.clock.advance(300)
    expect(third.fake.writes).toHaveLength(0)
    expect(ends(third).map((row) => [row[2], row[3]])).toEqual([[1, 'timedOut']])
    await third.stop()
    const fourth = new Plant(directory.path, third.clock)
    await fourth.clock.advance(300)
    expect(ends(fourth)).toHaveLength(1)
    await fourth.stop()
  })

  it('set at the gateway are written at once and settled for the version the cloud gives them', async () => {
    const plant = await pump({ desired: { setpoint: [1, 1] } })
    plant.fake.answer = (command) => ({ state: 'applied', atMs: command.version * 10 })
    plant.fake.writes[0]!.end({ state: 'applied', atMs: 10 })
    await plant.clock.advance(0)
    plant.core.desire('plant/p1', 'setpoint', 2, 'panel')
    await plant.clock.advance(0)
    expect(plant.fake.writes.map(({ command }) => command.value)).toEqual([1, 2])
    expect([...plant.core.desires]).toMatchObject([
      { property: 'setpoint', value: 2, version: 1, local: 1, by: 'panel' },
    ])
    await plant.put(deviceObject('p1', { desired: { setpoint: [2, 9] } }))
    await plant.clock.advance(300)
    expect(plant.fake.writes).toHaveLength(2)
    expect(ends(plant).map((row) => [row[2], row[6] ?? 0, row[3]])).toEqual([
      [1, 0, 'applied'],
      [1, 1, 'applied'],
      [9, 0, 'applied'],
    ])
    await plant.stop()
  })

  it('that are removed end, and do not come back with an older version', async () => {
    const plant = await pump({ desired: { setpoint: [1, 1] } })
    await plant.put(deviceObject('p1', { removed: { setpoint: 2 } }))
    expect(plant.fake.writes[0]!.signal.aborted).toBe(true)
    await plant.put(deviceObject('p1', { desired: { setpoint: [1, 1] }, rev: 'replayed' }))
    expect(plant.property('p1', 'setpoint').twin.desired).toBeUndefined()
    await plant.stop()
  })

  it('set at the gateway after the cloud removed theirs give way to the very next version of the cloud', async () => {
    const plant = await pump({ desired: { setpoint: [1, 1] } })
    plant.fake.answer = (command) => ({ state: 'applied', atMs: command.version * 10 })
    plant.fake.writes[0]!.end({ state: 'applied', atMs: 10 })
    await plant.put(deviceObject('p1', { removed: { setpoint: 2 } }))
    plant.core.desire('plant/p1', 'setpoint', 5, 'panel')
    await plant.clock.advance(0)
    expect(plant.property('p1', 'setpoint').twin.desired).toMatchObject({ value: 5, local: 1 })
    await plant.put(deviceObject('p1', { removed: { setpoint: 2 }, desired: { setpoint: [7, 3] } }))
    await plant.clock.advance(300)
    expect(plant.property('p1', 'setpoint').twin.desired).toMatchObject({ value: 7, version: 3 })
    expect(plant.property('p1', 'setpoint').twin.write).toMatchObject({ version: 3, state: 'applied' })
    await plant.stop()
  })
})

describe('objects', () => {
  it('of a device created again under its name start an empty twin', async () => {
    const plant = await pump({ desired: { setpoint: [1, 1] } })
    plant.read('p1', 'level', 4)
    await plant.clock.advance(300)
    await plant.put(deviceObject('p1', { uid: 'second' }))
    expect(plant.property('p1', 'level').twin.reported).toBeUndefined()
    expect(plant.property('p1', 'setpoint').twin.desired).toBeUndefined()
    plant.read('p1', 'level', 5)
    await plant.clock.advance(300)
    expect(plant.outbox().map((batch) => batch.d)).toEqual([[['plant/p1', 'uid-p1']], [['plant/p1', 'second']]])
    await plant.stop()
  })

  it('that change only desired values do not disturb the mapper', async () => {
    const plant = await pump()
    const before = plant.fake.configured
    await plant.put(deviceObject('p1', { desired: { setpoint: [1, 1] } }))
    expect(plant.fake.configured).toBe(before)
    await plant.put(deviceObject('p1', { spec: { poll: { every: '5s' } } }))
    expect(plant.fake.configured).toBe(before + 1)
    await plant.stop()
  })

  it('come back from the file without any network', async () => {
    const before = await pump()
    await before.stop()
    const after = new Plant(directory.path)
    await after.clock.advance(0)
    expect(after.fake.bindings.map(({ key }) => key)).toEqual(['plant/p1'])
    await after.stop()
  })
})
