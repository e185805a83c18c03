import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { HubStore } from '../hub/store.ts'
import { type StreamFilter, StreamHub, streamEvents } from '../hub/stream.ts'
import { serveEventStream } from './event-stream.ts'

let server: Server | undefined

afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

interface House {
  readonly store: HubStore
  readonly stream: StreamHub
  add(count: number, pad?: number): void
  open(after: number | undefined, filter?: StreamFilter, stallMs?: number): Promise<IncomingMessage>
}

async function house(maxStreamBytes = 1e9): Promise<House> {
  const stream = new StreamHub()
  const clock = new VirtualClock()
  const store = new HubStore({ path: ':memory:', clock, maxStreamBytes, onStreamRow: (row) => stream.publish(row) })
  const epoch = store.openEpoch('gw', 'e')
  let seq = 0
  let settings: { after: number | undefined; filter: StreamFilter; stallMs: number }
  server = createServer((_, response) => serveEventStream({ response, stream, store, clock: systemClock, ...settings }))
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  return {
    store,
    stream,
    add(count, pad = 0) {
      for (let index = 0; index < count; index++) {
        seq++
        const value = pad === 0 ? seq : 'x'.repeat(pad)
        const body = { d: [[`n/d${seq % 2}`, 'u']] as const, r: [[0, 'p', value, 0]] as const }
        const frame = JSON.stringify({ body })
        store.add({ epoch, range: [seq, seq], backfill: false, receivedMs: clock.now(), frame, body, done: () => {} })
      }
      store.commit()
    },
    open(after, filter = {}, stallMs = 30_000) {
      settings = { after, filter, stallMs }
      const { port } = server!.address() as AddressInfo
      return new Promise((resolve, reject) => {
        request({ port, host: '127.0.0.1', agent: false }, resolve).on('error', reject).end()
      })
    },
  }
}

/** Reads until `count` messages have data; gives the messages' ids and data. */
async function read(answer: IncomingMessage, count: number): Promise<{ id: number; event: string; data: string }[]> {
  const out: { id: number; event: string; data: string }[] = []
  let held = ''
  answer.setEncoding('utf8')
  for await (const chunk of answer as AsyncIterable<string>) {
    held += chunk
    for (let end = held.indexOf('\n\n'); end !== -1; end = held.indexOf('\n\n')) {
      const lines = new Map(
        held
          .slice(0, end)
          .split('\n')
          .map((line) => line.split(/: (.*)/s) as [string, string]),
      )
      held = held.slice(end + 2)
      const data = lines.get('data')
      if (data !== undefined && lines.get('event') !== 'open')
        out.push({ id: Number(lines.get('id')), event: lines.get('event') ?? 'message', data })
      if (out.length === count) return out
    }
  }
  return out
}

describe('the event stream', () => {
  it('resumes after a cursor and goes over into the live stream without a seam', async () => {
    const { add, open, store } = await house()
    add(450)
    const answer = await open(store.oldestCursor)
    const reading = read(answer, 460)
    add(10)
    const messages = await reading
    const values = messages.map(({ data }) => JSON.parse(data)[0].value)
    expect(values).toEqual(Array.from({ length: 460 }, (_, index) => index + 1))
    expect(messages.every(({ id }, index) => index === 0 || id === messages[index - 1]!.id + 1)).toBe(true)
  })

  it('tells notes to who listens right now, without a cursor, past the filter', async () => {
    const { add, open, stream } = await house()
    const answer = await open(undefined, { device: 'n/d1' })
    const reading = read(answer, 2)
    while (stream.subscribers === 0) await new Promise((resolve) => setImmediate(resolve))
    const note = { kind: 'desired', property: 'p', version: 3, value: 1, at: '' } as const
    stream.note({ ...note, device: 'n/other' }, 'gw')
    stream.note({ ...note, device: 'n/d1' }, 'gw')
    add(1)
    const [first, second] = await reading
    expect(JSON.parse(first!.data)).toEqual([{ ...note, device: 'n/d1' }])
    expect(first!.id).toBeNaN()
    expect(JSON.parse(second!.data)[0]).toMatchObject({ device: 'n/d1', value: 1 })
  })

  it('filters by device and says which rows are gone for good', async () => {
    const { add, open, store } = await house(400)
    add(20)
    add(1)
    const messages = await read(await open(1, { device: 'n/d1' }), 2)
    expect(messages[0]).toMatchObject({ event: 'gap', id: store.oldestCursor })
    expect(JSON.parse(messages[1]!.data)[0].device).toBe('n/d1')
  })

  it('reads to a slow reader from the log instead of from memory, in order and complete', async () => {
    const { add, open } = await house()
    const answer = await open(undefined)
    answer.pause()
    for (let round = 0; round < 30; round++) add(10, 20_000)
    const messages = await read(answer, 300)
    expect(messages).toHaveLength(300)
    expect(messages.every(({ id }, index) => index === 0 || id === messages[index - 1]!.id + 1)).toBe(true)
  })

  it('lets go of a reader that takes nothing', async () => {
    const { add, open, stream } = await house()
    const answer = await open(undefined, {}, 20)
    answer.pause()
    answer.on('error', () => {})
    for (let round = 0; round < 30; round++) add(10, 100_000)
    while (stream.subscribers > 0) await new Promise((resolve) => setImmediate(resolve))
    expect(stream.subscribers).toBe(0)
  })

  it('marks what was recorded while the link was down, and gives a failed reading its quality', () => {
    const events = streamEvents({
      backfill: true,
      body: {
        d: [['n/a', 'u']],
        r: [[0, 'p', null, 1000, 'bad(timeout)', 'no answer']],
        w: [[0, 'p', 7, 'applied', 2000]],
        s: [[0, 0, 3000, 'gone']],
      },
    })
    const at = (ms: number) => new Date(ms).toISOString()
    expect(events).toEqual([
      {
        ...{ kind: 'reported', device: 'n/a', property: 'p', value: null, at: at(1000) },
        ...{ quality: 'bad(timeout)', reason: 'no answer', backfill: true },
      },
      { kind: 'write', device: 'n/a', property: 'p', version: 7, state: 'applied', at: at(2000) },
      { kind: 'reach', device: 'n/a', online: false, at: at(3000), reason: 'gone' },
    ])
  })
})
