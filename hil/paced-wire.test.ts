import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../api/virtual-clock.ts'
import { strike } from './line-faults.ts'
import { PacedWire } from './paced-wire.ts'
import { seededRandom } from './random.ts'

describe('a paced wire', () => {
  it('delivers bytes in order, whole, and the last one exactly when the baud rate allows', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 8 }),
        fc.constantFrom(1200, 9600, 115_200),
        async (frames, baud) => {
          const clock = new VirtualClock()
          const got: number[] = []
          let lastMs = 0
          const wire = new PacedWire({ baud }, 2, clock, (to, bytes) => {
            expect(to).toBe(1)
            got.push(...bytes)
            lastMs = clock.monotonic()
          })
          for (const frame of frames) wire.transmit(0, frame)
          await clock.advance(10_000)
          const sent = frames.flatMap((frame) => [...frame])
          expect(got).toEqual(sent)
          expect(lastMs).toBeCloseTo((sent.length * 11_000) / baud, 5)
          expect(clock.pendingTimers).toBe(0)
        },
      ),
      { numRuns: 20 },
    )
  })

  it('garbles two ends that send at once', async () => {
    const clock = new VirtualClock()
    const got: Record<number, number[]> = { 0: [], 1: [] }
    const wire = new PacedWire({ baud: 9600 }, 2, clock, (to, bytes) => void got[to]?.push(...bytes))
    wire.transmit(0, Uint8Array.of(0xff, 0xff, 0xff))
    wire.transmit(1, Uint8Array.of(0xff, 0xff, 0xff))
    await clock.advance(100)
    expect(wire.stats.collisions).toBe(1)
    expect([...got[0]!, ...got[1]!]).not.toContain(0xff)
  })

  it('does the same to the same frames for the same seed', () => {
    const faults = { lose: 0.1, drop: 0.2, flip: 0.2, duplicate: 0.2, delay: 0.2, split: 0.2, garbage: 0.2 }
    const run = (seed: number) => {
      const random = seededRandom(seed)
      return Array.from({ length: 50 }, () => strike(Uint8Array.of(1, 2, 3, 4), faults, random, () => undefined))
    }
    expect(run(1)).toEqual(run(1))
    expect(run(1)).not.toEqual(run(2))
  })
})
