import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ImageState, ImageStore } from '../runtimes/runtime.ts'
import { COLLECT_LIMITS, collectImages } from './collector.ts'

const signal = new AbortController().signal
const NOW = 10_000_000

function storeOf(given: readonly Pick<ImageState, 'id' | 'bytes' | 'lastUsedMs'>[]) {
  const held = new Map(given.map((one) => [one.id, { ...one, names: [], digests: [] }]))
  const never = () => Promise.reject(new Error('not asked for'))
  const store: ImageStore = {
    list: () => Promise.resolve([...held.values()]),
    remove: (id) => {
      held.delete(id)
      return Promise.resolve()
    },
    ...{ find: never, pull: never, import: never },
  }
  return { store, held }
}

describe('images are collected', () => {
  it('only when the disk is full, the longest unused first, until it is not', async () => {
    const { store, held } = storeOf([
      { id: 'old', bytes: 6, lastUsedMs: 1 },
      { id: 'older', bytes: 1, lastUsedMs: 0 },
      { id: 'newer', bytes: 50, lastUsedMs: 2 },
    ])
    expect((await collectImages(store, new Set(), { bytes: 100, freeBytes: 16 }, NOW, signal)).removed).toEqual([])
    const { removed, freedBytes } = await collectImages(store, new Set(), { bytes: 100, freeBytes: 14 }, NOW, signal)
    expect(removed).toEqual(['older', 'old'])
    expect(freedBytes).toBe(7)
    expect([...held.keys()]).toEqual(['newer'])
  })

  it('never while one is in use or was just fetched, and says what is lacking then', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          fc.record({ id: fc.string(), bytes: fc.nat(100), lastUsedMs: fc.integer({ min: NOW - 300_000, max: NOW }) }),
          {
            selector: ({ id }) => id,
            maxLength: 12,
          },
        ),
        fc.func(fc.boolean()),
        fc.nat(1000),
        fc.boolean(),
        async (images, isUsed, freeBytes, atOnce) => {
          const { store, held } = storeOf(images)
          const inUse = new Set(images.filter(({ id }) => isUsed(id)).map(({ id }) => id))
          const disk = { bytes: 1000, freeBytes }
          const { freedBytes, lackingBytes } = await collectImages(store, inUse, disk, NOW, signal, { atOnce })
          for (const { id, lastUsedMs } of images) {
            if (inUse.has(id) || NOW - lastUsedMs < COLLECT_LIMITS.minAgeMs) expect(held.has(id)).toBe(true)
          }
          const full = freeBytes <= 150
          if (!full && !atOnce) expect(freedBytes).toBe(0)
          if (full && !atOnce && lackingBytes === 0) expect(freeBytes + freedBytes).toBeGreaterThanOrEqual(199.999)
          if (atOnce)
            expect(
              [...held.values()].every(
                ({ id, lastUsedMs }) => inUse.has(id) || NOW - lastUsedMs < COLLECT_LIMITS.minAgeMs,
              ),
            ).toBe(true)
        },
      ),
    )
  })
})
