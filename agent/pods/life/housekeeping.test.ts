import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { Housekeeping } from './housekeeping.ts'
import { podDisk } from './pod-disk.ts'
import { isRunning, PodHouse } from './pod-house.test-helper.ts'
import type { NodeSupplies } from './pressure.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const PLENTY: NodeSupplies = {
  memoryBytes: 2 ** 33,
  availableMemoryBytes: 2 ** 32,
  disk: { bytes: 2 ** 40, freeBytes: 2 ** 39 },
  ...{ inodes: 2 ** 20, freeInodes: 2 ** 19, maxPids: 2 ** 15, freePids: 2 ** 14 },
}

const signal = AbortSignal.timeout(120_000)
let image: MadeImage
let house: PodHouse
let housekeeping: Housekeeping
let supplies: NodeSupplies
let evicted: Map<string, string>

describe.skipIf(missing !== undefined)('a gateway that runs short', () => {
  beforeAll(() => {
    image = busyboxImage()
  })
  afterAll(() => image?.[Symbol.dispose]())
  beforeEach(async () => {
    supplies = PLENTY
    evicted = new Map()
    house = await PodHouse.open({ image, signal, keeper: { refuse: ({ uid }) => evicted.get(uid) } })
    const at = (name: string) => `${house.folder}/${name}`
    housekeeping = new Housekeeping({
      ...{ clock: systemClock, runtime: house.runtime, objects: () => house.objects, supplies: () => supplies },
      stores: () => [house.runtime.images],
      disk: podDisk({ disk: at('disk'), memory: at('memory'), logs: at('logs') }),
      evict: (pod, why) => {
        evicted.set(pod.uid, why)
        house.keeper.wake()
      },
      onEvent: (event) => house.events.push(event),
      onPressure: () => {},
    })
  })
  afterEach(async () => {
    await housekeeping[Symbol.asyncDispose]()
    await house[Symbol.asyncDispose]()
  })

  it('of memory ends the pod that uses more than it asked for, once, with the reason, and leaves the others', async () => {
    const request = { resources: { requests: { memory: '64Mi' } } }
    const command = ['sh', '-c', 'sleep 1000']
    house.put('modest', { containers: [{ name: 'main', image: 'test/busybox:1', command, ...request }] })
    house.put('greedy', {})
    await house.status('modest', isRunning)
    await house.status('greedy', isRunning)
    await housekeeping.look()
    expect(evicted.size).toBe(0)
    supplies = { ...PLENTY, availableMemoryBytes: 10 * 2 ** 20 }
    await housekeeping.look()
    const gone = await house.status('greedy', ({ phase }) => phase === 'Failed')
    expect(gone).toMatchObject({
      reason: 'Evicted',
      message: expect.stringContaining(
        'The node was low on resource: memory. Threshold quantity: 100Mi, available: 10Mi.',
      ),
    })
    expect(house.events.filter(({ reason }) => reason === 'Evicted')).toHaveLength(1)
    expect(housekeeping.board.get('MemoryPressure')).toBeDefined()
    expect(isRunning(await house.status('modest', () => true))).toBe(true)
  })

  it('of what a volume may hold ends its pod', async () => {
    const uid = house.put('writer', {
      containers: [
        {
          name: 'main',
          image: 'test/busybox:1',
          command: ['sh', '-c', 'dd if=/dev/zero of=/data/f bs=1M count=3; echo written; sleep 1000'],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'data', emptyDir: { sizeLimit: '1Mi' } }],
    })
    await house.status('writer', isRunning)
    await house.said(uid, /written/)
    await housekeeping.look()
    await house.status(
      'writer',
      ({ phase, message }) => phase === 'Failed' && (message ?? '').includes('exceeds the limit "1Mi"'),
    )
  })

  it('of disk removes images first, and never one that a pod uses or is about to', async () => {
    using other = busyboxImage({ name: 'test/other:1', env: ['OTHER=1'] })
    await house.runtime.images.import(other.archive, undefined, signal)
    house.put('user', {})
    await house.status('user', isRunning)
    for (const { id } of await house.runtime.images.list()) {
      // As if all had been used long ago.
      const held = house.runtime.images.get(id) as { lastUsedMs: number }
      held.lastUsedMs = 0
    }
    supplies = { ...PLENTY, disk: { bytes: 100, freeBytes: 5 } }
    await housekeeping.look()
    expect((await house.runtime.images.list()).flatMap(({ names }) => names)).toEqual(['docker.io/test/busybox:1'])
    expect(house.events).toContainEqual(
      expect.objectContaining({ reason: 'ImagesRemoved', message: expect.stringContaining('test/other:1') }),
    )
  })
})
