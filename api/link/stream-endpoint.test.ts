import { buffer, text } from 'node:stream/consumers'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../errors.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { StreamEndpoint } from './stream-endpoint.ts'
import { decodeMessage, encodeControl, encodeData, MAX_CHANNEL, type StreamControl } from './streams.ts'

/** Two endpoints with a network between them that takes messages one by one, and none while the reader is paused. */
function pair(clock = new VirtualClock()) {
  const network = () => {
    const state = {
      queue: [] as { message: Uint8Array | string; sent: () => void }[],
      bytes: 0,
      paused: false,
      to: undefined as StreamEndpoint | undefined,
      closed: false,
      silent: false,
    }
    const step = () => {
      if (state.paused || state.silent) return
      const next = state.queue.shift()
      if (next === undefined) {
        if (state.closed) state.to?.closed('the network ended')
        return
      }
      state.bytes -= next.message.length
      state.to?.receive(next.message)
      next.sent()
      setImmediate(step)
    }
    return { state, step }
  }
  const up = network()
  const down = network()
  const socket = (out: typeof up, into: typeof up) => ({
    send(message: Uint8Array | string, sent: () => void) {
      out.state.queue.push({ message, sent })
      out.state.bytes += message.length
      setImmediate(out.step)
    },
    get bufferedBytes() {
      return out.state.bytes
    },
    pause: () => {
      into.state.paused = true
    },
    resume: () => {
      into.state.paused = false
      setImmediate(into.step)
    },
    close: () => {
      out.state.closed = true
      setImmediate(out.step)
    },
    ping: () => {
      if (!out.state.silent) out.state.to?.heard()
    },
  })
  const near = new StreamEndpoint(socket(up, down), clock)
  const far = new StreamEndpoint(socket(down, up), clock)
  up.state.to = far
  down.state.to = near
  return { near, far, up: up.state, down: down.state, clock }
}

describe('messages of a stream', () => {
  const control: fc.Arbitrary<StreamControl> = fc.oneof(
    fc.constant({ c: 'open' as const }),
    fc.record({
      c: fc.constantFrom('end' as const, 'stop' as const),
      channel: fc.integer({ min: 0, max: MAX_CHANNEL }),
    }),
    fc.record({ c: fc.constant('done' as const), result: fc.constantFrom(null, 1, 'x', { exitCode: 3 }) }),
    fc.record({
      c: fc.constant('failed' as const),
      code: fc.constant('SLUICE_STREAM_LOST'),
      message: fc.string({ minLength: 1, maxLength: 50 }),
    }),
  )

  it('come out as they went in', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: MAX_CHANNEL }),
        fc.uint8Array({ maxLength: 500 }),
        control,
        (id, data, said) => {
          expect(decodeMessage(encodeData(id, data))).toEqual({ c: 'data', channel: id, data })
          expect(decodeMessage(encodeControl(said))).toEqual(said)
        },
      ),
    )
  })

  it('anything else is a message or nothing, and never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.string(), fc.json()), (garbage) => {
        decodeMessage(garbage)
      }),
    )
    expect(decodeMessage(new Uint8Array())).toBeUndefined()
    expect(decodeMessage(new Uint8Array([MAX_CHANNEL + 1, 1]))).toBeUndefined()
    expect(decodeMessage('{"c":"failed","code":"rm -rf","message":"x"}')).toBeUndefined()
  })
})

describe('a stream', () => {
  it('carries channels both ways, each to its own end, and then its result', async () => {
    const { near, far } = pair()
    far.ready()
    await near.opened
    near.channel(0).end('in')
    const input = text(far.channel(0))
    far.channel(1).end('x'.repeat(300_000))
    far.channel(2).end('err')
    const [out, err] = [text(near.channel(1)), text(near.channel(2))]
    expect(await input).toBe('in')
    void far.done({ exitCode: 3 })
    expect(await near.outcome).toEqual({ exitCode: 3 })
    expect((await out).length).toBe(300_000)
    expect(await err).toBe('err')
    expect(await far.outcome).toEqual({ exitCode: 3 })
  })

  it('the end of one direction leaves the other open', async () => {
    const { near, far } = pair()
    near.channel(0).end('question')
    const asked = await text(far.channel(0))
    far.channel(0).end(`${asked} answered`)
    expect(await text(near.channel(0))).toBe('question answered')
  })

  it('whatever is written arrives before the result', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 90_000 }), { maxLength: 12 }),
        async (parts) => {
          const { near, far } = pair()
          const came = buffer(near.channel(1))
          for (const part of parts) far.channel(1).write(part)
          await far.done(null)
          expect((await came).equals(Buffer.concat(parts))).toBe(true)
          await near.outcome
        },
      ),
      { numRuns: 25 },
    )
  })

  it('a reader that does not read holds up the writer; nothing is lost, little is held', async () => {
    const { near, far } = pair()
    const all = Buffer.alloc(8_000_000, 5)
    const slow = near.channel(1)
    let finished = false
    far.channel(1).end(all, () => {
      finished = true
    })
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(finished).toBe(false)
    expect(slow.readableLength).toBeLessThan(1_000_000)
    expect((await buffer(slow)).equals(all)).toBe(true)
    expect(finished).toBe(true)
  })

  it('an error reaches the other side with its code, and ends everything', async () => {
    const { near, far } = pair()
    const reading = text(near.channel(1))
    far.fail(new SluiceError('SLUICE_POD_NOT_FOUND', 'not here', { hint: 'look there' }))
    await expect(near.outcome).rejects.toMatchObject({ code: 'SLUICE_POD_NOT_FOUND', hint: 'look there' })
    await expect(near.opened).rejects.toThrow('not here')
    await expect(reading).rejects.toThrow('not here')
  })

  it('a message that breaks the rules ends it', async () => {
    const { near, far } = pair()
    near.receive('{"c":"end","channel":99}')
    await expect(near.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_BAD_MESSAGE' })
    await expect(far.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_BAD_MESSAGE' })
  })

  it('a side that fell silent is given up, one that only has nothing to say is not', async () => {
    const { near, far, up, down, clock } = pair()
    await clock.advance(600_000)
    expect(near.over || far.over).toBe(false)
    up.silent = true
    down.silent = true
    await clock.advance(120_000)
    await expect(near.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_LOST' })
  })

  it('is ended when nothing moved for four hours', async () => {
    const { near, clock } = pair()
    await clock.advance(4 * 3_600_000 + 60_000)
    await expect(near.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_IDLE' })
  })
})
