import { beforeEach, describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { Coalescer } from './coalescer.ts'

let clock: VirtualClock
let writes: string[]
let failing: SluiceError | undefined
let refused: string[]
let stopping: AbortController

beforeEach(() => {
  clock = new VirtualClock()
  writes = []
  refused = []
  failing = undefined
  stopping = new AbortController()
})

const coalescer = (parallel = 4, write?: (key: string) => Promise<unknown>) =>
  new Coalescer({
    clock,
    signal: stopping.signal,
    intervalMs: 1000,
    parallel,
    random: () => 1,
    write:
      write ??
      (async (key) => {
        writes.push(`${key}@${clock.monotonic()}`)
        if (failing !== undefined) throw failing
      }),
    onRefused: (key) => refused.push(key),
  })

describe('coalescing writes', () => {
  it('writes the first change at once and then at most one an interval', async () => {
    const writer = coalescer()
    for (let ms = 0; ms < 2900; ms += 100) {
      writer.markDirty('a')
      await clock.advance(100)
    }
    expect(writes).toEqual(['a@0', 'a@1000', 'a@2000'])
    await clock.advance(5000)
    expect(writes).toEqual(['a@0', 'a@1000', 'a@2000', 'a@3000'])
    expect(writer.behind).toBe(0)
  })

  it('does not let one key wait for another', async () => {
    const writer = coalescer()
    writer.markDirty('a')
    await clock.advance(10)
    writer.markDirty('a')
    writer.markDirty('b')
    await clock.advance(0)
    expect(writes).toEqual(['a@0', 'b@10'])
  })

  it('keeps to its number of parallel writes', async () => {
    let running = 0
    let most = 0
    const writer = coalescer(3, async () => {
      most = Math.max(most, ++running)
      await new Promise<void>((resolve) => clock.after(50, resolve))
      running--
    })
    for (let key = 0; key < 20; key++) writer.markDirty(`k${key}`)
    await clock.advance(1000)
    expect(most).toBe(3)
    expect(writer.behind).toBe(0)
  })

  it('remembers every key while the far side is away for minutes, and asks gently', async () => {
    failing = new SluiceError('SLUICE_KUBE_UNREACHABLE', 'gone')
    const writer = coalescer()
    for (let key = 0; key < 100; key++) writer.markDirty(`k${key}`)
    await clock.advance(120_000)
    expect(writes.length).toBeLessThan(40)
    failing = undefined
    writes.length = 0
    await clock.advance(20_000)
    expect(new Set(writes.map((write) => write.split('@')[0])).size).toBe(100)
    expect(writer.behind).toBe(0)
  })

  it('gives up what is refused for good, without holding up the rest', async () => {
    failing = new SluiceError('SLUICE_KUBE_REFUSED', 'no')
    const writer = coalescer()
    writer.markDirty('bad')
    await clock.advance(0)
    failing = undefined
    writer.markDirty('good')
    await clock.advance(0)
    expect(refused).toEqual(['bad'])
    expect(writes).toEqual(['bad@0', 'good@0'])
  })

  it('hurries a key past its interval', async () => {
    const writer = coalescer()
    writer.markDirty('a')
    await clock.advance(100)
    writer.markDirty('a')
    writer.hurry('a')
    await clock.advance(0)
    expect(writes).toEqual(['a@0', 'a@100'])
  })

  it('does not let a change wait for a write that turned out to have nothing to say', async () => {
    let news = false
    const writer = coalescer(4, async (key) => {
      writes.push(`${key}@${clock.monotonic()}`)
      return news
    })
    writer.markDirty('a')
    await clock.advance(100)
    news = true
    writer.markDirty('a')
    await clock.advance(100)
    writer.markDirty('a')
    await clock.advance(2000)
    expect(writes).toEqual(['a@0', 'a@100', 'a@1100'])
  })

  it('takes writes that fail together for one failure', async () => {
    failing = new SluiceError('SLUICE_KUBE_UNREACHABLE', 'gone')
    const writer = coalescer()
    for (const key of ['a', 'b', 'c', 'd']) writer.markDirty(key)
    await clock.advance(100)
    failing = undefined
    await clock.advance(1000)
    expect(writer.behind).toBe(0)
  })

  it('says when everything is written', async () => {
    const writer = coalescer()
    writer.markDirty('a')
    await clock.advance(1)
    writer.markDirty('a')
    let done = false
    const drained = writer.drained(new AbortController().signal).then(() => {
      done = true
    })
    await clock.advance(500)
    expect(done).toBe(false)
    await clock.advance(600)
    await drained
    expect(writes).toHaveLength(2)
  })
})
