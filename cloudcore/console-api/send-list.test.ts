import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { sendError } from './http.ts'
import { sendList } from './send-list.ts'

let server: Server | undefined

afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

/** Answers every request by `send`; tells when the last answer is over. */
async function served(send: (...args: [Parameters<typeof sendList>[0]]) => Promise<void>) {
  const over = Promise.withResolvers<void>()
  server = createServer((_, response) => {
    send(response)
      .catch((thrown: unknown) => sendError(response, thrown))
      .finally(() => over.resolve())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const ask = () =>
    new Promise<IncomingMessage>((resolve, reject) => {
      request({ port, host: '127.0.0.1', agent: false }, resolve).on('error', reject).end()
    })
  return { ask, over: over.promise }
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

describe('a list that is answered', () => {
  it.each([0, 1, 64, 65, 128, 1000])('is whole with %i items, and says the rest after it', async (count) => {
    const { ask } = await served((response) => sendList(response, upTo(count), (n) => ({ n }), { total: 7 }))
    expect(JSON.parse(await text(await ask()))).toEqual({ items: upTo(count).map((n) => ({ n })), total: 7 })
  })

  it('leaves out what has gone meanwhile, the first and the last parts of it too', async () => {
    for (const kept of [() => false, (n: number) => n >= 100 && n < 300, (n: number) => n === 999]) {
      const { ask } = await served((response) => sendList(response, upTo(1000), (n) => (kept(n) ? n : undefined)))
      expect(JSON.parse(await text(await ask()))).toEqual({ items: upTo(1000).filter(kept) })
      server?.close()
    }
  })

  it('lets others be served between its parts', async () => {
    let made = 0
    let madeBefore = -1
    const { ask } = await served((response) => {
      setImmediate(() => {
        madeBefore = made
      })
      return sendList(response, upTo(1000), () => ++made)
    })
    await text(await ask())
    expect(made).toBe(1000)
    expect(madeBefore).toBeGreaterThan(0)
    expect(madeBefore).toBeLessThan(200)
  })

  it('is made no further than its reader takes it, and not at all once the reader has gone', async () => {
    let made = 0
    const page = 'x'.repeat(10_000)
    const { ask, over } = await served((response) =>
      sendList(response, upTo(100_000), () => {
        made++
        return page
      }),
    )
    const answer = await ask()
    answer.destroy()
    await over
    expect(made).toBeLessThan(10_000)
  })

  it('ends without its end when an item cannot be shown, so that nobody takes a part for all', async () => {
    const { ask } = await served((response) =>
      sendList(response, upTo(1000), (n) => {
        if (n === 500) throw new Error('torn')
        return n
      }),
    )
    await expect(text(await ask())).rejects.toThrow()
  })
})
