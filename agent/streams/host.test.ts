import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import type { DialFrame, DialRefusedFrame } from '../../api/link/streams.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { type StreamHandler, StreamHost } from './host.ts'

function setUp(handler: StreamHandler | undefined, options: { maxStreams?: number; unreachable?: boolean } = {}) {
  const clock = new VirtualClock()
  const hubs: StreamEndpoint[] = []
  const refusals: DialRefusedFrame[] = []
  const { unreachable, ...limits } = options
  const host = new StreamHost({
    ...{ clock, log: () => {}, ...limits },
    handler: async () => handler,
    open: async () => {
      if (unreachable === true) throw new SluiceError('SLUICE_STREAM_UNREACHABLE', 'no way to the hub')
      const ends: StreamEndpoint[] = []
      const make = (other: number) =>
        new StreamEndpoint(
          {
            send: (message, sent) => {
              queueMicrotask(() => ends[other]?.receive(message))
              sent()
            },
            ...{ bufferedBytes: 0, pause: () => {}, resume: () => {}, close: () => {}, ping: () => {} },
          },
          clock,
        )
      ends.push(make(1), make(0))
      hubs.push(ends[1]!)
      return ends[0]!
    },
  })
  const dial = (id: string, withinMs = 30_000) => {
    const frame: DialFrame = { t: 'dial', id, secret: 's', kind: 'test', target: { name: id }, withinMs }
    host.dial(frame, (refusal) => refusals.push(refusal))
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  return { clock, host, hubs, refusals, dial, turn }
}

describe('streams of a gateway', () => {
  it('are served by the handler of their kind, to their result', async () => {
    const { hubs, dial, turn } = setUp(async ({ endpoint, ready, target }) => {
      ready()
      endpoint.channel(1).write('hello')
      return target
    })
    dial('stream-1')
    await turn()
    await hubs[0]!.opened
    expect(await text(hubs[0]!.channel(1))).toBe('hello')
    expect(await hubs[0]!.outcome).toEqual({ name: 'stream-1' })
  })

  it('are refused over the link where nobody serves them, or the hub cannot be reached', async () => {
    const nobody = setUp(undefined)
    nobody.dial('stream-1')
    await nobody.turn()
    expect(nobody.refusals).toMatchObject([{ id: 'stream-1', code: 'SLUICE_STREAM_KIND' }])
    const cut = setUp(async () => null, { unreachable: true })
    cut.dial('stream-2')
    await cut.turn()
    expect(cut.refusals).toMatchObject([{ id: 'stream-2', code: 'SLUICE_STREAM_UNREACHABLE' }])
    expect(cut.host.open).toBe(0)
  })

  it('a dial that comes twice is one stream, and more than the limit are refused', async () => {
    const { hubs, refusals, dial, turn, host } = setUp(
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
      { maxStreams: 2 },
    )
    for (const id of ['stream-1', 'stream-1', 'stream-2', 'stream-3']) dial(id)
    await turn()
    expect(hubs).toHaveLength(2)
    expect(refusals).toMatchObject([{ id: 'stream-3', code: 'SLUICE_STREAM_TOO_MANY' }])
    await host[Symbol.asyncDispose]()
    await expect(hubs[0]!.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_CLOSING' })
    expect(host.open).toBe(0)
  })

  it('what a handler throws is told to whoever asked', async () => {
    const { hubs, dial, turn } = setUp(async () => {
      throw new SluiceError('SLUICE_POD_NOT_FOUND', 'no such pod here')
    })
    dial('stream-1')
    await turn()
    await expect(hubs[0]!.opened).rejects.toMatchObject({ code: 'SLUICE_POD_NOT_FOUND' })
  })

  it('a handler that does not begin in time is stopped, one that runs is not', async () => {
    const stopped: string[] = []
    const { clock, hubs, dial, turn } = setUp(({ target, ready, signal }) => {
      const { name } = target as { name: string }
      if (name === 'stream-2') ready()
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          stopped.push(name)
          reject(signal.reason)
        })
      })
    })
    dial('stream-1', 1000)
    dial('stream-2', 1000)
    await turn()
    await clock.advance(5000)
    await expect(hubs[0]!.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_TIMEOUT' })
    expect(stopped).toEqual(['stream-1'])
  })

  it('a handler is stopped when whoever asked goes away', async () => {
    const stopped = Promise.withResolvers<unknown>()
    const { hubs, dial, turn } = setUp(({ ready, signal }) => {
      ready()
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          stopped.resolve(signal.reason)
          reject(signal.reason)
        })
      })
    })
    dial('stream-1')
    await turn()
    hubs[0]!.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'enough'))
    expect(await stopped.promise).toMatchObject({ code: 'SLUICE_STREAM_LOST' })
  })
})
