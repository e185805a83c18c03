import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../hil/random.ts'
import { NAMESPACE, TestRelease, World } from './rollout-world.test-helper.ts'

const release = new TestRelease()
beforeAll(async () => void (await release.make()))
afterAll(() => release.dispose())

async function world(count: number): Promise<World> {
  const made = new World(release, count)
  await made.start()
  return made
}

const IN_FLIGHT = ['waiting', 'asking', 'fetching', 'sending', 'trying', 'checking']

describe('the controller of rollouts', () => {
  it('brings a release to the canary, then to each wave, and says how far it is', async () => {
    using plant = await world(10)
    plant.apply('r', { canary: 1, waves: [50, 100] })
    await plant.clock.advance(10)
    expect(plant.ordered).toEqual(['d000'])
    expect(plant.status()).toMatchObject({ phase: 'Canary', stage: 'canary', updating: 1, progress: '0/10' })
    for (let step = 0; step < 7; step++) plant.step('d000')
    await plant.clock.advance(1500)
    expect(plant.status()).toMatchObject({ phase: 'Waves', stage: 'wave 1 of 2', updating: 4, progress: '1/10' })
    expect(plant.ordered).toEqual(['d001', 'd002', 'd003', 'd004'])
    await plant.runOut()
    expect(plant.status()).toMatchObject({ phase: 'Done', progress: '10/10', updating: 0, failed: 0, reverted: 0 })
    expect(plant.ordered).toEqual([])
    expect(plant.notes.filter(({ reason }) => reason === 'DeviceUpdated')).toHaveLength(10)
    expect(plant.notes.map(({ reason }) => reason)).toContain('RolloutDone')
  })

  it('stops at a canary that is not well, and touches nobody else', async () => {
    using plant = await world(10)
    plant.boards.get('d001')!.fate = 'notWell'
    plant.apply('r', { canary: 3 })
    await plant.runOut()
    expect(plant.status()).toMatchObject({ phase: 'RolledBack', failed: 1, reverted: 2, progress: '0/10' })
    expect(plant.stateOf('d001')).toBe('rolledBack')
    expect([...plant.boards.values()].every(({ runs }) => runs === 'old')).toBe(true)
    expect([...plant.boards.values()].slice(3).every(({ attempt }) => attempt === '')).toBe(true)
  })

  it('takes back every device when one of a wave is not well, names the one that stays, and may be tried again', async () => {
    using plant = await world(20)
    plant.apply('r', { canary: 2, waves: [50, 100] })
    plant.boards.get('d015')!.fate = 'notWell'
    plant.boards.get('d003')!.stuck = true
    await plant.runOut()
    expect(plant.status()).toMatchObject({ phase: 'RolledBack', failed: 1 })
    expect(plant.status().message).toBe('d015 rolled back; not back: d003')
    const still = [...plant.boards.values()].filter(({ runs }) => runs === 'new').map(({ name }) => name)
    expect(still).toEqual(['d003'])
    plant.boards.get('d015')!.fate = 'well'
    plant.apply('r', { retry: 1 })
    await plant.runOut()
    expect(plant.status()).toMatchObject({ phase: 'Done', progress: '20/20', failed: 0, reverted: 0 })
  })

  it('halts, calls off what was not tried yet and leaves the rest, where a device refused or the rollout says halt', async () => {
    for (const [fate, onFailure] of [
      ['refused', 'rollBack'],
      ['notWell', 'halt'],
    ] as const) {
      using plant = await world(8)
      plant.boards.get('d002')!.fate = fate
      plant.apply('r', { waves: [100], onFailure })
      await plant.clock.advance(10)
      for (let step = 0; step < 7; step++) plant.step('d000')
      await plant.clock.advance(1500)
      while (plant.stateOf('d002') !== 'failed' && plant.stateOf('d002') !== 'rolledBack') {
        plant.step('d002')
        await plant.clock.advance(1500)
      }
      await plant.clock.advance(1500)
      expect(plant.status()).toMatchObject({ phase: 'Halted', failed: 1, updating: 0, progress: '1/8' })
      expect(plant.ordered).toEqual([])
      expect(plant.boards.get('d000')?.runs).toBe('new')
    }
  })

  it('goes back when it is told to, long after it was done', async () => {
    using plant = await world(5)
    plant.apply('r', {})
    await plant.runOut()
    expect(plant.status().phase).toBe('Done')
    await plant.start()
    plant.apply('r', { rollBack: true })
    await plant.runOut()
    expect(plant.status()).toMatchObject({ phase: 'RolledBack', reverted: 5, progress: '0/5' })
    expect([...plant.boards.values()].every(({ runs }) => runs === 'old')).toBe(true)
  })

  it('believes a gateway that could not be reached and went through with what was called off', async () => {
    using plant = await world(4)
    plant.boards.get('d001')!.fate = 'refused'
    plant.apply('r', { canary: 2, onFailure: 'halt' })
    await plant.clock.advance(10)
    const attempt = plant.orders.get(`${NAMESPACE}/d000`)!.attempt
    for (let step = 0; step < 3; step++) plant.step('d001')
    await plant.clock.advance(1500)
    expect(plant.stateOf('d000')).toBe('pending')
    plant.controller.told('gw-0', [{ key: `${NAMESPACE}/d000`, uid: 'uid-d000', attempt, state: 'confirmed' }])
    await plant.clock.advance(1500)
    expect(plant.stateOf('d000')).toBe('confirmed')
  })

  it('ends what takes longer than its deadline, and what nobody has any more', async () => {
    using plant = await world(3)
    plant.apply('r', { canary: 3, deadline: '10m' })
    plant.step('d000')
    await plant.clock.advance(9 * 60_000)
    expect(plant.stateOf('d000')).toBe('waiting')
    await plant.clock.advance(2 * 60_000)
    expect(plant.stateOf('d000')).toBe('failed')
    expect(plant.status().devices?.[0]?.message).toContain('not done within 10m')
    using other = await world(2)
    other.apply('r', { devices: ['d000', 'nobody'], canary: 2 })
    await other.runOut()
    expect(other.status()).toMatchObject({ phase: 'Done', progress: '1/2' })
    expect(other.stateOf('nobody')).toBe('gone')
  })

  it('gives a device to one rollout at a time, also when two begin in the same moment', async () => {
    using plant = await world(3)
    plant.apply('one', { canary: 3 })
    plant.apply('two', { canary: 3 })
    await plant.clock.advance(2000)
    const attempts = () => [...plant.boards.keys()].map((name) => plant.orders.get(`${NAMESPACE}/${name}`)?.attempt)
    const first = attempts()
    expect(new Set(first).size).toBe(1)
    for (let turn = 0; turn < 5; turn++) {
      for (const name of plant.boards.keys()) plant.step(name)
      await plant.clock.advance(1500)
      expect(attempts()).toEqual(first)
    }
    await plant.runOut('one')
    await plant.runOut('two')
    expect(plant.status('one').phase).toBe('Done')
    expect(plant.status('two').phase).toBe('Done')
  })

  it('takes a raise of retry that came while it was down, and refuses a selector of more than a rollout has', async () => {
    using plant = await world(2)
    plant.boards.get('d000')!.fate = 'refused'
    plant.apply('r', {})
    await plant.runOut()
    expect(plant.status().phase).toBe('Halted')
    plant.boards.get('d000')!.fate = 'well'
    const held = plant.rollouts.get('r')!
    plant.rollouts.set('r', { ...held, spec: { ...held.spec, retry: 1 } })
    await plant.start()
    await plant.runOut()
    expect(plant.status().phase).toBe('Done')
    using large = await world(501)
    large.apply('r', {})
    await large.clock.advance(2000)
    expect(large.status()).toMatchObject({ phase: 'Waiting' })
    expect(large.status().message).toContain('501 devices')
  })

  it('asks for the bytes that a gateway lacks, of images of its order alone', async () => {
    using plant = await world(1)
    plant.apply('r', {})
    await plant.clock.advance(10)
    const { attempt, images } = plant.orders.get(`${NAMESPACE}/d000`)!
    const told = (sha256: string, fromByte: number, uid = 'uid-d000') =>
      plant.controller.told('gw-0', [
        { key: `${NAMESPACE}/d000`, uid, attempt, state: 'fetching', needs: { sha256, fromByte } },
      ])
    const sha256 = images[0]?.sha256 ?? ''
    told(sha256, 100)
    told('0'.repeat(64), 0)
    told(sha256, 10_000_000)
    told(sha256, 0, 'uid-of-another')
    expect(plant.needs).toEqual([`gw-0 ${sha256} 100`])
  })

  it('keeps its promises whatever boards, people, restarts and an API that goes away do', async () => {
    const shape = fc.record({
      seed: fc.nat(1_000_000),
      count: fc.integer({ min: 1, max: 12 }),
      canary: fc.integer({ min: 1, max: 3 }),
      maxFailures: fc.integer({ min: 0, max: 2 }),
      onFailure: fc.constantFrom('rollBack' as const, 'halt' as const),
    })
    await fc.assert(
      fc.asyncProperty(shape, async ({ seed, count, canary, maxFailures, onFailure }) => {
        const random = seededRandom(seed)
        const chance = (share: number) => random() < share
        using plant = await world(count)
        for (const board of plant.boards.values())
          board.fate = chance(0.15) ? 'notWell' : chance(0.1) ? 'refused' : 'well'
        let paused = false
        plant.apply('r', { canary, waves: [40, 100], maxFailures, onFailure, paused })
        const begun = new Set<string>()
        for (let turn = 0; turn < 60; turn++) {
          const names = [...plant.boards.keys()]
          for (let steps = 0; steps < 4; steps++) plant.step(names[Math.floor(random() * names.length)]!, chance(0.1))
          if (chance(0.1)) plant.apply('r', { paused: (paused = !paused) })
          plant.apiAway = chance(0.1)
          if (chance(0.05)) await plant.start()
          // What was decided before the pause came is still told.
          await plant.clock.advance(0)
          const before = new Set(plant.ordered)
          await plant.clock.advance(Math.floor(random() * 4000))
          const devices = plant.status().devices ?? []
          const stageOf = (name: string) => devices.find((each) => each.name === name)?.stage ?? -1
          const bad = devices.filter(({ state }) => state === 'failed' || state === 'rolledBack')
          const { ordered } = plant
          // Never devices of two stages at once, and nobody is told before the status in the API says so.
          expect(new Set(ordered.map(stageOf)).size).toBeLessThanOrEqual(1)
          for (const name of ordered) expect(IN_FLIGHT).toContain(plant.stateOf(name))
          if (paused) for (const name of ordered) expect(before.has(name) || begun.has(name)).toBe(true)
          for (const name of ordered) begun.add(name)
          if (bad.some(({ stage }) => stage === 0)) for (const name of begun) expect(stageOf(name)).toBe(0)
        }
        plant.apiAway = false
        plant.apply('r', { paused: false, rollBack: true })
        await plant.runOut()
        expect(plant.status().phase).toBe('RolledBack')
        expect([...plant.boards.values()].filter(({ runs }) => runs === 'new')).toEqual([])
        expect(plant.troubles).toEqual([])
      }),
      { numRuns: 60 },
    )
  })
})
