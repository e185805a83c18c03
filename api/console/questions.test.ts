import { once } from 'node:events'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../errors.ts'
import { loopbackStream } from '../link/loopback-stream.ts'
import type { Json } from '../resources.ts'
import { answerQuestions, linesOf, MAX_REPLY_CHARS, type Reply } from './questions.ts'

/** A gateway that answers over a stream without a network. */
function gateway(ask: (path: string, body: Json | undefined) => Promise<Json>) {
  const [near, far] = loopbackStream()
  const over = answerQuestions({ questions: far.channel(0), replies: far.channel(1) }, ask)
  over.catch((thrown: unknown) => far.fail(thrown))
  const replies = linesOf(near.channel(1), MAX_REPLY_CHARS + 1024)
  return {
    ...{ near, over },
    say: (line: string) => void near.channel(0).write(`${line}\n`),
    reply: async () => JSON.parse(String((await replies.next()).value)) as Reply,
  }
}

describe('questions to a gateway', () => {
  it('are answered each under its number, in whatever order the answers come', async () => {
    const held = Promise.withResolvers<Json>()
    const { say, reply } = gateway(async (path, body) =>
      path === 'slow' ? held.promise : { path, body: body ?? null },
    )
    say('{"id":1,"path":"slow"}')
    say('{"id":2,"path":"fast","body":{"a":1}}')
    expect(await reply()).toEqual({ id: 2, ok: true, body: { path: 'fast', body: { a: 1 } } })
    held.resolve('done')
    expect(await reply()).toEqual({ id: 1, ok: true, body: 'done' })
  })

  it('are refused in words', async () => {
    const { say, reply } = gateway(() => Promise.reject(new SluiceError('SLUICE_X', 'not here', { hint: 'there' })))
    say('{"id":7,"path":"x"}')
    expect(await reply()).toEqual({ id: 7, ok: false, code: 'SLUICE_X', message: 'not here', hint: 'there' })
  })

  it('get no answer that nobody could look at', async () => {
    const { say, reply } = gateway(async () => 'x'.repeat(MAX_REPLY_CHARS))
    say('{"id":1,"path":"x"}')
    expect(await reply()).toMatchObject({ ok: false, code: 'SLUICE_API_TOO_LARGE' })
  })

  it('end the stream when they are none, whatever comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ minLength: 1 }).filter((text) => !/[\r\n]/.test(text)),
        async (text) => {
          const { say, over, near } = gateway(async () => null)
          say(text)
          await expect(over).rejects.toMatchObject({ code: 'SLUICE_STREAM_BAD_MESSAGE' })
          await near.outcome.catch(() => {})
        },
      ),
      { numRuns: 40 },
    )
  })

  it('are not kept when too many wait at once', async () => {
    const { say, over } = gateway(() => new Promise(() => {}))
    for (let id = 0; id <= 16; id++) say(JSON.stringify({ id, path: 'x' }))
    await expect(over).rejects.toMatchObject({ code: 'SLUICE_STREAM_BAD_MESSAGE' })
  })
})

describe('a stream without a network', () => {
  it('carries bytes both ways in order and ends with the result', async () => {
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 5_000 }), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(chunks, async (sent) => {
        const [near, far] = loopbackStream()
        const got: Buffer[] = []
        far.channel(0).on('data', (data: Buffer) => got.push(data))
        for (const chunk of sent) near.channel(0).write(chunk)
        near.channel(0).end()
        await once(far.channel(0), 'end')
        expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true)
        void far.done({ all: got.length })
        expect(await near.outcome).toEqual({ all: got.length })
      }),
      { numRuns: 30 },
    )
  })

  it('holds a writer up whose reader does not read', async () => {
    const [near, far] = loopbackStream()
    const channel = near.channel(0)
    let free = true
    let written = 0
    while (free && written < 64) {
      free = channel.write(Buffer.alloc(64 * 1024))
      written++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(free).toBe(false)
    far.channel(0).resume()
    await once(channel, 'drain')
    near.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'enough'))
    await expect(far.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_CANCELLED' })
  })
})
