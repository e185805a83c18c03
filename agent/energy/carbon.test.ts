import { once } from 'node:events'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { Carbon } from './carbon.ts'

const NOW = Date.UTC(2026, 5, 15, 10, 30)
let clock: VirtualClock
beforeEach(() => {
  clock = new VirtualClock(NOW)
})
const now = (carbon: Carbon) => carbon.gPerKWh(clock.now(), clock.monotonic())
const hours = (first: number) =>
  JSON.stringify([10, 11].map((hour, i) => ({ at: `2026-06-15T${hour}:00:00Z`, gPerKWh: first + i * 100 })))

describe('carbon intensity from a file', () => {
  let folder: string
  let file: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-carbon-'))
    file = join(folder, 'grid.json')
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  const open = () => new Carbon({ clock, config: { file }, subscribe: undefined })

  test('goes by the hour, and is nobody’s word after the last', async () => {
    writeFileSync(file, hours(210))
    using carbon = open()
    expect(now(carbon)).toBe(210)
    await clock.advance(3_600_000)
    expect(now(carbon)).toBe(310)
    await clock.advance(3_600_000)
    expect(now(carbon)).toBeUndefined()
  })

  test('is read again within a minute of a change, and also when a copy of before is put back', async () => {
    writeFileSync(file, '300')
    using carbon = open()
    expect(now(carbon)).toBe(300)
    utimesSync(file, 1, 1)
    writeFileSync(file, '250')
    utimesSync(file, 2, 2)
    await clock.advance(60_000)
    expect(now(carbon)).toBe(250)
    rmSync(file)
    await clock.advance(60_000)
    expect(now(carbon)).toBe(250)
    expect(carbon.health(clock.now())[0]?.reason).toMatch(/cannot be read/)
    writeFileSync(file, '250')
    utimesSync(file, 2, 2)
    await clock.advance(60_000)
    expect(now(carbon)).toBe(250)
    expect(carbon.health(clock.now())[0]?.reason ?? '').not.toMatch(/cannot be read/)
  })

  test('that is not there, is no intensity or far too long gives no figure, and says why', () => {
    using missing = open()
    expect(now(missing)).toBeUndefined()
    expect(missing.health(clock.now())[0]).toMatchObject({ state: expect.stringMatching(/absent|faulty/) })
    for (const text of [
      '',
      'green',
      '-5',
      '1e9',
      '{"gPerKWh":"300"}',
      '[{"at":"yesterday","gPerKWh":3}]',
      '1'.repeat(300_000),
    ]) {
      writeFileSync(file, text)
      using carbon = open()
      expect({ text: text.slice(0, 20), given: now(carbon) }).toEqual({ text: text.slice(0, 20), given: undefined })
      expect(carbon.health(clock.now())[0]?.state).not.toBe('ok')
    }
  })
})

describe('carbon intensity from a URL', () => {
  let server: Server
  let answer: { status: number; body: string }
  let asked = 0
  beforeEach(async () => {
    asked = 0
    answer = { status: 200, body: '{"intensity":{"forecast":210,"actual":208}}' }
    server = createServer((_, response) => {
      asked++
      response.writeHead(answer.status).end(answer.body)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(() => server.close())

  const open = () => {
    const asking = Promise.withResolvers<void>()
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/now`
    const carbon = new Carbon({
      clock,
      config: { url },
      subscribe: undefined,
      fetch: async (...given) => {
        const response = await fetch(...given)
        const text = await response.text()
        setImmediate(() => asking.resolve())
        return new Response(text, { status: response.status })
      },
    })
    return { carbon, asked: asking.promise }
  }

  test('is asked for at the start, and every quarter of an hour', async () => {
    const { carbon, asked: answered } = open()
    using _ = carbon
    expect(now(carbon)).toBeUndefined()
    await answered
    await expect.poll(() => now(carbon)).toBe(208)
    answer = { status: 200, body: hours(400) }
    await clock.advance(900_000)
    await expect.poll(() => now(carbon)).toBe(400)
    expect(asked).toBe(2)
  })

  test('that fails or talks nonsense gives no figure, and says why', async () => {
    for (const wrong of [
      { status: 500, body: '300' },
      { status: 200, body: '<html>' },
      { status: 200, body: '1'.repeat(300_000) },
    ]) {
      answer = wrong
      const { carbon, asked: answered } = open()
      using _ = carbon
      await answered
      await expect.poll(() => carbon.health(clock.now())[0]?.state).not.toBe('ok')
      expect(now(carbon)).toBeUndefined()
    }
  })
})

test('carbon intensity from a topic goes on as it was when the topic falls silent or talks nonsense', () => {
  let say = (_: Uint8Array): void => {}
  let heard = ''
  using carbon = new Carbon({
    clock,
    config: { topic: 'grid/intensity' },
    subscribe: (topic, listener) => {
      heard = topic
      say = listener
      return { [Symbol.dispose]: () => (say = () => {}) }
    },
  })
  expect([heard, now(carbon)]).toEqual(['grid/intensity', undefined])
  say(Buffer.from('287'))
  expect(now(carbon)).toBe(287)
  for (const text of ['', '{', 'null', '-1']) say(Buffer.from(text))
  say(new Uint8Array(300_000))
  expect(now(carbon)).toBe(287)
  expect(carbon.health(clock.now())[0]?.reason).toMatch(/grid\/intensity/)
})
