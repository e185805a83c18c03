import { describe, expect, it } from 'vitest'
import type { LinkPod } from '../../../api/link/pods.ts'
import { chooseVictim, evictionWords } from './eviction.ts'
import { type NodeSupplies, PressureBoard, readSupplies, shortages } from './pressure.ts'

const plenty: NodeSupplies = {
  memoryBytes: 2 ** 32,
  availableMemoryBytes: 2 ** 31,
  disk: { bytes: 2 ** 34, freeBytes: 2 ** 33 },
  inodes: 1000,
  freeInodes: 500,
  maxPids: 1000,
  freePids: 500,
}

const candidate = (uid: string, memoryBytes: number, spec: Partial<LinkPod['spec']> = {}, memory?: string) => ({
  uid,
  pod: {
    ...{ uid, generation: 1, metadata: {} },
    spec: {
      containers: [{ name: 'c', image: 'i', ...(memory === undefined ? {} : { resources: { requests: { memory } } }) }],
      ...spec,
    },
  },
  stats: { id: uid, podUid: uid, cpuS: 0, memoryBytes, pids: 3, containers: [] },
  diskBytes: 0,
})

describe('what is short', () => {
  it('is said as the kubelet says it, and nothing is while there is plenty', () => {
    expect(shortages(plenty)).toEqual([])
    expect(shortages({ ...plenty, availableMemoryBytes: 50 * 2 ** 20 })).toEqual([
      { kind: 'MemoryPressure', resource: 'memory', words: 'Threshold quantity: 100Mi, available: 50Mi' },
    ])
    expect(shortages({ ...plenty, disk: { bytes: 2 ** 34, freeBytes: 2 ** 30 } })).toMatchObject([
      { resource: 'ephemeral-storage' },
    ])
    expect(shortages({ ...plenty, freeInodes: 49, freePids: 49 })).toMatchObject([
      { resource: 'inodes' },
      { resource: 'pids' },
    ])
  })

  it('is told for five minutes after it was last seen', () => {
    const board = new PressureBoard()
    const low = shortages({ ...plenty, freePids: 1 })
    board.saw(low, 0)
    board.saw([], 300_000)
    expect(board.get('PIDPressure')).toBeDefined()
    board.saw([], 300_001)
    expect(board.any).toEqual([])
  })

  it('is read from this machine, with figures that can be', () => {
    const now = readSupplies('/tmp')
    expect(now.availableMemoryBytes).toBeGreaterThan(0)
    expect(now.availableMemoryBytes).toBeLessThan(now.memoryBytes)
    expect(now.disk.freeBytes).toBeLessThanOrEqual(now.disk.bytes)
    expect(now.freePids).toBeGreaterThan(0)
  })
})

describe('who is evicted', () => {
  const [low] = shortages({ ...plenty, availableMemoryBytes: 50 * 2 ** 20 })

  it('uses more than it asked for, before who matters less, before who uses most', () => {
    const modest = candidate('modest', 90, { priority: -5 }, '100')
    const greedy = candidate('greedy', 110, { priority: 7 }, '100')
    const big = candidate('big', 500, { priority: 7 })
    expect(chooseVictim(low!, [modest, greedy, big])?.uid).toBe('big')
    expect(chooseVictim(low!, [modest, greedy])?.uid).toBe('greedy')
    expect(chooseVictim(low!, [modest])?.uid).toBe('modest')
    expect(evictionWords(low!)).toBe(
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi.',
    )
  })

  it('is never one that belongs to the machine, or that uses nothing', () => {
    const system = candidate('system', 500, { priority: 2_000_001_000 })
    const file = candidate('file', 500)
    const fromFile = {
      ...file,
      pod: { ...file.pod, metadata: { annotations: { 'kubernetes.io/config.source': 'file' } } },
    }
    expect(chooseVictim(low!, [system, fromFile, candidate('idle', 0)])).toBeUndefined()
  })
})
