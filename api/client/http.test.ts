import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Endpoint, requestEvents } from './http.ts'

describe('a stream of events', { timeout: 10_000 }, () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('id: 1\ndata: [1]\n\n')
    answers.push(response)
  })
  const answers: ServerResponse[] = []
  let endpoint: Endpoint
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    endpoint = { kind: 'http', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  })
  afterEach(() => {
    vi.useRealTimers()
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const read = () => requestEvents<number[]>(endpoint, { path: '/', signal: new AbortController().signal })

  it('of a server that froze ends with words, though nobody closed the connection', async () => {
    const events = read()
    expect((await events.next()).value?.data).toEqual([1])
    const next = events.next()
    const ended = expect(next).rejects.toMatchObject({ code: 'SLUICE_CLIENT_TIMEOUT' })
    vi.advanceTimersByTime(20_001)
    await ended
  })

  it('goes on for whoever takes their time to read it', async () => {
    const events = read()
    await events.next()
    vi.advanceTimersByTime(60_000)
    answers.at(-1)?.write('id: 2\ndata: [2]\n\n')
    expect((await events.next()).value?.data).toEqual([2])
    await events.return(undefined)
  })

  it('goes on for as long as the server says something now and then', async () => {
    const events = read()
    await events.next()
    for (let round = 2; round < 5; round++) {
      const next = events.next()
      vi.advanceTimersByTime(15_000)
      answers.at(-1)?.write(`id: ${round}\ndata: [${round}]\n\n`)
      expect((await next).value?.data).toEqual([round])
    }
    await events.return(undefined)
  })
})
