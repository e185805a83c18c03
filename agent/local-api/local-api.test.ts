import { readFileSync, statSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeviceView } from '../../api/views.ts'
import { silentLog } from '../log.ts'
import { type AgentOptions, type RunningAgent, runAgent } from '../run.ts'
import { FakeProtocol } from '../test-helpers/fake-protocol.ts'
import { deviceObject, modelObject, temporaryDirectory } from '../test-helpers/plant.ts'
import { EventRing } from './event-ring.ts'

let directory: ReturnType<typeof temporaryDirectory>
let fake: FakeProtocol
let agent: RunningAgent | undefined
beforeEach(() => {
  directory = temporaryDirectory()
  fake = new FakeProtocol()
})
afterEach(async () => {
  await agent?.[Symbol.asyncDispose]()
  agent = undefined
  directory[Symbol.dispose]()
})

async function start(options: Partial<AgentOptions> = {}) {
  agent = await runAgent(
    { dataDir: directory.path, gateway: 'gw-1', ...options },
    {
      log: silentLog,
      protocols: [fake.protocol],
      check: async () => undefined,
      objects: [modelObject(), deviceObject('p1')],
    },
  )
  await new Promise((resolve) => setImmediate(resolve))
  return agent
}

interface Call {
  readonly method?: string
  readonly path: string
  readonly body?: string
  readonly headers?: Record<string, string>
  readonly port?: number
}

function open({ method = 'GET', path, body, headers = {}, port }: Call): Promise<IncomingMessage> {
  const where = port === undefined ? { socketPath: agent!.socketPath } : { host: '127.0.0.1', port }
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...where, method, path, headers }, resolve)
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function call(words: Call): Promise<{ status: number; body: unknown }> {
  const response = await open(words)
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode ?? 0, body: text.startsWith('{') ? JSON.parse(text) : text }
}

const read = (value: number) =>
  fake.read({ device: 'plant/p1', property: 'level', value, atMs: Date.UTC(2026, 0, 1), quality: 'good' })

/** The next event of a stream, comments and the opening event left out. */
async function* eventsOf(response: IncomingMessage): AsyncGenerator<{ id: string; event: string; data: unknown }> {
  let text = ''
  for await (const chunk of response) {
    text += String(chunk)
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      )
      text = text.slice(end + 2)
      if (fields.has('data'))
        yield {
          id: fields.get('id') ?? '',
          event: fields.get('event') ?? 'message',
          data: JSON.parse(fields.get('data')!),
        }
    }
  }
}

describe('the local API', () => {
  it('shows devices and their twins with no cloud at all', async () => {
    await start()
    read(4.5)
    const { status, body } = await call({ path: '/v1/devices/plant/p1' })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      namespace: 'plant',
      name: 'p1',
      gateway: 'gw-1',
      twins: [
        { name: 'level', value: 4.5, unit: 'm', quality: 'good', at: '2026-01-01T00:00:00.000Z', access: 'read' },
        { name: 'setpoint' },
      ],
    } satisfies Partial<Record<keyof DeviceView, unknown>>)
  })

  it('writes a desired value and waits for its end when asked', async () => {
    await start()
    fake.answer = ({ version }) => ({ state: 'applied', atMs: version })
    const body = JSON.stringify({ value: 30, by: 'panel' })
    const answer = await call({ method: 'PUT', path: '/v1/devices/plant/p1/desired/setpoint?wait=10s', body })
    expect(answer).toMatchObject({ status: 200, body: { device: 'plant/p1', property: 'setpoint', value: 30 } })
    expect((answer.body as { state: string }).state).not.toBe('pending')
    expect(fake.writes.map(({ command }) => command.value)).toEqual([30])
  })

  it('shows the models in force, and the gateway itself', async () => {
    await start()
    const models = await call({ path: '/v1/models' })
    expect(models.body).toMatchObject({
      items: [{ namespace: 'plant', spec: { properties: [{ name: 'level' }, {}] } }],
    })
    const gateways = await call({ path: '/v1/gateways' })
    expect(gateways.body).toMatchObject({
      items: [{ name: 'gw-1', state: 'online', status: { devices: { total: 1 } } }],
    })
  })

  it('shows what was seen and takes what a scan saw, within the limits', async () => {
    await start()
    const item = { protocol: 'fake', id: 'a', address: { unit: 7 }, candidates: [], facts: {}, atMs: 1e15, count: 0 }
    const post = (items: unknown) => call({ method: 'POST', path: '/v1/discovered', body: JSON.stringify({ items }) })
    expect(await post([item])).toMatchObject({ status: 200, body: { taken: 1 } })
    expect(await call({ path: '/v1/discovered' })).toMatchObject({
      status: 200,
      body: { items: [{ id: 'a', count: 1 }] },
    })
    for (const wrong of [undefined, {}, [{}], [{ ...item, id: 'x'.repeat(300) }], [{ ...item, address: 3 }]]) {
      expect(await post(wrong)).toMatchObject({ status: 400, body: { code: 'SLUICE_API_BAD_REQUEST' } })
    }
  })

  it('answers every wrong request with a typed error', async () => {
    await start()
    const put = (path: string, body: string) => call({ method: 'PUT', path, body })
    const cases: readonly (readonly [Promise<{ status: number; body: unknown }>, number, string])[] = [
      [call({ path: '/v1/devices/plant/nobody' }), 404, 'SLUICE_TWIN_DEVICE_UNKNOWN'],
      [call({ path: '/v2/devices' }), 404, 'SLUICE_API_NOT_FOUND'],
      [call({ path: '/%zz' }), 404, 'SLUICE_API_NOT_FOUND'],
      [call({ method: 'DELETE', path: '/v1/devices' }), 405, 'SLUICE_API_METHOD'],
      [put('/v1/devices/plant/p1/desired/nothing', '{"value":1}'), 404, 'SLUICE_TWIN_PROPERTY_UNKNOWN'],
      [put('/v1/devices/plant/p1/desired/level', '{"value":1}'), 422, 'SLUICE_TWIN_READ_ONLY'],
      [put('/v1/devices/plant/p1/desired/setpoint', '{"value":101}'), 422, 'SLUICE_TWIN_VALUE_REFUSED'],
      [put('/v1/devices/plant/p1/desired/setpoint?wait=long', '{"value":1}'), 400, 'SLUICE_INVALID_DURATION'],
      [put('/v1/devices/plant/p1/desired/setpoint', '{"val'), 400, 'SLUICE_API_BAD_REQUEST'],
      [put('/v1/devices/plant/p1/desired/setpoint', '[]'), 400, 'SLUICE_API_BAD_REQUEST'],
      [put('/v1/devices/plant/p1/desired/setpoint', `{"value":"${'x'.repeat(300_000)}"}`), 413, 'SLUICE_API_TOO_LARGE'],
    ]
    for (const [answer, status, code] of cases) expect(await answer).toMatchObject({ status, body: { code } })
    expect(fake.writes).toEqual([])
  })

  it('answers metrics in the Prometheus text format and its health in JSON', async () => {
    await start()
    read(1)
    const { body } = await call({ path: '/metrics' })
    const lines = String(body).trimEnd().split('\n')
    for (const line of lines)
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+-]+)$/)
    expect(lines).toContain('sluice_readings_total 1')
    expect(await call({ path: '/healthz' })).toMatchObject({ status: 200, body: { ok: true, gateway: 'gw-1' } })
  })

  it('is a socket that only owner and group may open', async () => {
    const { socketPath } = await start()
    expect(statSync(socketPath).mode & 0o777).toBe(0o660)
  })

  it('guards the loopback port: a foreign host name is refused, writing needs the token', async () => {
    const { port } = await start({ localPort: 0 })
    const write = { method: 'PUT', path: '/v1/devices/plant/p1/desired/setpoint', body: '{"value":1}', port: port! }
    expect((await call({ path: '/v1/devices', port: port! })).status).toBe(200)
    expect(await call({ path: '/v1/devices', port: port!, headers: { host: 'evil.example' } })).toMatchObject({
      status: 403,
    })
    expect(await call(write)).toMatchObject({ status: 401, body: { code: 'SLUICE_API_TOKEN' } })
    const path = join(directory.path, 'local-api.token')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const authorization = `Bearer ${readFileSync(path, 'utf8')}`
    expect((await call({ ...write, headers: { authorization } })).status).toBe(200)
  })

  it('refuses a second agent on the same directory and a busy port, and takes over a socket left behind', async () => {
    await start()
    const again = runAgent({ dataDir: directory.path }, { log: silentLog, protocols: [] })
    await expect(again).rejects.toMatchObject({ code: 'SLUICE_AGENT_RUNNING' })
    expect((await call({ path: '/v1/devices' })).status).toBe(200)
    await agent![Symbol.asyncDispose]()
    const busy = createServer()
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
    const { port } = busy.address() as { port: number }
    await expect(
      runAgent({ dataDir: directory.path, localPort: port }, { log: silentLog, protocols: [] }),
    ).rejects.toMatchObject({
      code: 'SLUICE_API_IN_USE',
    })
    await new Promise<void>((resolve) => busy.close(() => resolve()))
    await start()
  })
})

describe('the event stream', () => {
  it('tells changes as they happen, filtered, and resumes after a cursor', async () => {
    await start()
    const first = await open({ path: '/v1/events?kind=reported&device=plant/p1' })
    const events = eventsOf(first)
    expect((await events.next()).value?.event).toBe('open')
    read(1)
    read(2)
    const one = (await events.next()).value!
    expect(one).toMatchObject({
      event: 'message',
      data: [{ kind: 'reported', device: 'plant/p1', property: 'level', value: 1, quality: 'good' }],
    })
    first.destroy()
    const resumed = eventsOf(await open({ path: '/v1/events?kind=reported', headers: { 'last-event-id': one.id } }))
    expect((await resumed.next()).value?.data).toMatchObject([{ value: 2 }])
    await resumed.return(undefined)
  })

  it('tells what is desired when somebody sets it', async () => {
    await start()
    const events = eventsOf(await open({ path: '/v1/events?kind=desired' }))
    await events.next()
    await call({ method: 'PUT', path: '/v1/devices/plant/p1/desired/setpoint', body: '{"value": 12, "by": "panel"}' })
    expect((await events.next()).value?.data).toMatchObject([
      { kind: 'desired', device: 'plant/p1', property: 'setpoint', value: 12, by: 'panel' },
    ])
    await events.return(undefined)
  })

  it('says reset for a cursor it does not know', async () => {
    await start()
    const events = eventsOf(await open({ path: '/v1/events', headers: { 'last-event-id': 'other-17' } }))
    expect((await events.next()).value?.event).toBe('reset')
    await events.return(undefined)
  })

  it('lets go of a reader that does not read', async () => {
    const { core } = await start()
    const slow = await open({ path: '/v1/events' })
    slow.pause()
    const gone = new Promise((resolve) => slow.once('close', resolve))
    const text = 'x'.repeat(100_000)
    for (let i = 0; i < 200; i++) {
      core.engine.readings([{ device: 'plant/p1', property: 'level', value: `${text}${i}`, atMs: 0, quality: 'good' }])
    }
    slow.resume()
    await gone
    expect(String(await call({ path: '/metrics' }).then(({ body }) => body))).toContain(
      'sluice_local_api_subscribers 0',
    )
  })

  it('keeps what is newest, whatever is pushed and asked', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 70 }), (pushed, asked) => {
        const ring = new EventRing('run', 16)
        const reach = { kind: 'reach', device: 'a/b', online: true, at: '' } as const
        for (let i = 0; i < pushed; i++) ring.push(reach)
        const after = ring.after(`run-${asked}`)
        if (asked > pushed) expect(after).toBeUndefined()
        else if (after !== undefined)
          expect(after.map(({ id }) => id)).toEqual(
            Array.from({ length: pushed - asked }, (_, i) => `run-${asked + 1 + i}`),
          )
        else expect(pushed - asked).toBeGreaterThan(16)
      }),
    )
  })
})
