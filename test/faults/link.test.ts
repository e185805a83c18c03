import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../api/clock.ts'
import type { HubFrame } from '../../api/link/messages.ts'
import type { Device } from '../../api/resources.ts'
import { CertificateAuthority } from '../../cloudcore/join/authority.ts'
import { ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { Assembly } from '../harness/assembly.ts'
import { twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { linkProxy, type SeenFrame } from '../harness/link-proxy.ts'
import { isReported, isWrite, readStream } from '../harness/stream.ts'
import { tcpProxy } from '../harness/tcp-proxy.ts'
import { eventually, until } from '../harness/until.ts'

const HEARTBEAT_MS = 300
/** What every session that is not cut has, in whatever order it begins. */
const WHOLE_SESSION = [
  ...['hello', 'batch', 'objectsAck', 'snapshot', 'status', 'ping'].map((kind) => `agent ${kind}`),
  ...['welcome', 'objects', 'ack', 'pong'].map((kind) => `hub ${kind}`),
]

let house: Assembly
beforeAll(async () => {
  house = await Assembly.start({ cloud: { heartbeatMs: HEARTBEAT_MS, graceMs: 1_000 } })
  await house.createModel('counter', counterModel)
}, 60_000)
afterAll(() => house?.[Symbol.asyncDispose]())
beforeEach(() => house.tellOnFailure())

const identityOf = (folder: string): { certPem: string; keyPem: string } =>
  JSON.parse(readFileSync(join(folder, 'identity.json'), 'utf8'))

describe('a link that is cut', { timeout: 120_000 }, () => {
  it('after every single message of a session loses nothing, doubles nothing and ends every write once', async () => {
    const dataDir = join(house.folder, 'gw-cut')
    await using proxy = await linkProxy({
      pki: join(house.cloudData, 'pki'),
      hub: () => house.core.info.hubUrl,
      identity: () => identityOf(dataDir),
    })
    const agentOf = () => house.startAgent({ dataDir, gateway: 'gw-cut', hubUrl: proxy.url })
    await house.createDevice('cut', { ...house.counterDevice(11, '20ms'), nodeName: 'gw-cut' })
    await using stream = readStream(house.endpoint, { device: `${house.namespace}/cut` }, '0')
    const { served, holding } = house.far.unit(11)
    /** How many values had been served at the end of each life. */
    const lives: number[] = []

    /** `property version.local` of the ends in every batch, by its number: a batch may be sent again after a cut. */
    const written = new Map<number, readonly string[]>()

    /** One life of the agent with a change from either side; resolves with the messages of its session until it was cut. */
    const session = async (number: number, cutAfter: number): Promise<string[]> => {
      const seen: string[] = []
      const cut = Promise.withResolvers<void>()
      proxy.judge = ({ from, frame }: SeenFrame) => {
        seen.push(`${from} ${frame.t}`)
        if (from === 'agent' && frame.t === 'batch') {
          const rows = frame.body.w ?? []
          written.set(
            frame.seq,
            rows.map(([, property, version, , , , local = 0]) => `${property} ${version}.${local}`),
          )
        }
        if (seen.length < cutAfter) return 'pass'
        cut.resolve()
        return seen.length === cutAfter ? 'cutAfter' : 'cutBefore'
      }
      await house.patchDevice('cut', { spec: { desired: { speed: 1000 + number } } })
      {
        await using agent = await agentOf()
        const knowsDevice = agent.core.engine.devices.size > 0
        if (knowsDevice) agent.core.desire(`${house.namespace}/cut`, 'ramp', 2000 + number, 'test')
        if (cutAfter < Number.POSITIVE_INFINITY) await cut.promise
        else {
          // The status may still speak of the value before: what it calls desired has to be the new one.
          const isInForce = (device: Device, name: string, value: number) => {
            const twin = twinOf(device, name)
            return twin?.desired?.value === value && twin.state === 'synced'
          }
          await house.devices.until('cut', (d) => isInForce(d, 'speed', 1000 + number), 'speed is synced')
          if (knowsDevice)
            await house.devices.until('cut', (d) => isInForce(d, 'ramp', 2000 + number), 'and so is ramp')
          await eventually(() => WHOLE_SESSION.every((kind) => seen.includes(kind)), 'a message of every kind')
          await eventually(() => agent.link?.caughtUp && agent.core.store.totals.batches < 3, 'the backlog is drained')
        }
      }
      lives.push(served.length)
      return seen
    }

    const clean = await session(0, Number.POSITIVE_INFINITY)
    // A session's beginning is the same every time; beyond it batches and acknowledgements repeat.
    const boundaries = Math.max(24, clean.indexOf('agent batch') + 12)
    const all = new Set<string>()
    for (let k = 1; k <= boundaries; k++) for (const kind of await session(k, k)) all.add(kind)
    expect(all).toContain('agent desire')
    await session(boundaries + 1, Number.POSITIVE_INFINITY)

    const device = await house.devices.until(
      'cut',
      (d) =>
        Object.entries({ speed: 1001 + boundaries, ramp: 2001 + boundaries }).every(([name, value]) => {
          const twin = twinOf(d, name)
          return twin?.desired?.value === value && (twin.state === 'synced' || twin.state === 'applied')
        }),
      'everything is in force',
    )
    expect(device.spec.desired).toEqual({ speed: 1001 + boundaries, ramp: 2001 + boundaries })
    expect([holding.get(0), holding.get(10)]).toEqual([1001 + boundaries, 2001 + boundaries])
    const last = served.at(-2)!.value
    await stream.until((e) => isReported(e) && e.property === 'count' && Number(e.value) >= last, 'the last count')
    const counts = stream.events.filter(isReported).filter((e) => e.property === 'count' && e.quality === 'good')
    const values = counts.map(({ value }) => Number(value))
    expect(new Set(values).size).toBe(values.length)
    const got = new Set(values)
    // An agent that is stopped gives up the one request it has on the wire, answered just before the end or just after.
    const given = new Set(lives.flatMap((end) => [end, end + 1]))
    const lost = served.filter(({ value }) => value <= last && !got.has(value) && !given.has(value))
    expect(lost).toEqual([])
    expect(house.logged('SLUICE_STORE_FAILED')).toBeUndefined()
    const ends = [...written.values()].flat()
    expect(ends.length).toBe(stream.events.filter(isWrite).length)
    expect(ends.filter((end, index) => ends.indexOf(end) !== index)).toEqual([])
    expect(house.log.filter(({ code }) => code === 'SLUICE_LINK_HOLE' || code === 'SLUICE_LINK_GAP')).toEqual([])
  })
})

describe('a link that goes bad without breaking', { timeout: 60_000 }, () => {
  it('is given up when it is stalled or half open, and what was recorded meanwhile comes later', async () => {
    const dataDir = join(house.folder, 'gw-bad')
    await using wire = await tcpProxy(house.core.info.hubPort)
    const hubUrl = `wss://127.0.0.1:${wire.port}`
    await house.createDevice('bad', { ...house.counterDevice(12, '20ms'), nodeName: 'gw-bad' })
    await using stream = readStream(house.endpoint, { device: `${house.namespace}/bad`, property: 'count' })
    await using agent = await house.startAgent({ dataDir, gateway: 'gw-bad', hubUrl })
    const { served } = house.far.unit(12)
    const caughtUp = async (what: string) => {
      const last = served.length
      await stream.until((e) => isReported(e) && Number(e.value) >= last, `live after ${what}`)
      await eventually(() => {
        const got = new Set(stream.events.filter(isReported).map(({ value }) => Number(value)))
        return served.slice(0, last).every(({ value }) => got.has(value))
      }, `everything is there after ${what}`)
    }
    await stream.until(isReported, 'the first value')

    wire.stall('up', true)
    wire.stall('down', true)
    await eventually(() => !agent.link!.status.connected, 'the agent gave the stalled link up')
    await house.devices.until('bad', (d) => d.status?.state === 'unknown', 'the cloud says so too')
    wire.stall('up', false)
    wire.stall('down', false)
    await caughtUp('a stall')

    wire.halfOpen('server')
    await eventually(() => !agent.link!.status.connected, 'the agent noticed that nobody is there')
    await caughtUp('a lost hub')

    wire.halfOpen('client')
    await eventually(() => !agent.link!.status.connected, 'the agent saw the end')
    await caughtUp('a lost agent')

    wire.bytesPerSecond = 20_000
    wire.cut()
    await house.far.afterReads(12, 20)
    await caughtUp('a slow line')
    const values = stream.events.filter(isReported).map(({ value }) => value)
    expect(new Set(values).size).toBe(values.length)
    expect(house.log.some(({ code, level }) => code === 'SLUICE_LINK_SILENT' && level === 'agent warn')).toBe(true)
    expect(house.logged('SLUICE_LINK_HOLE')).toBeUndefined()
  })
})

describe('a hub that is told nonsense', { timeout: 60_000 }, () => {
  it('answers with a typed error, closes that connection, and nobody else notices', async () => {
    const identity = await house.joinScripted('gw-rude')
    await using witness = await house.startAgent({ dataDir: join(house.folder, 'gw-calm'), gateway: 'gw-calm' })
    await eventually(() => witness.link?.status.connected, 'the calm one is connected')
    const { reconnects } = witness.link!.status
    const ending = async (act: (agent: ScriptedAgent) => void): Promise<string> => {
      using agent = await ScriptedAgent.open(identity)
      const error = agent.next((frame) => frame.t === 'error')
      act(agent)
      const said = await Promise.race([error, agent.closed])
      await agent.closed
      return 't' in said && said.t === 'error' ? said.code : JSON.stringify(said)
    }
    const text = (content: string) => (agent: ScriptedAgent) => agent.sendText(content)
    for (const garbage of ['', '{', '[]', 'null', '{"t":"sing"}', '{"t":"batch","seq":-1}', '\u0000\ud800', '1e999']) {
      expect(await ending(text(garbage))).toBe('SLUICE_LINK_BAD_FRAME')
    }
    expect(await ending((agent) => agent.sendBinary(Buffer.alloc(64, 0xff)))).toBe('SLUICE_LINK_BAD_FRAME')
    expect(await ending(text(`{"t":"${'x'.repeat(5 * 1024 * 1024)}"}`))).toMatch(/SLUICE_LINK_BAD_FRAME|1009/)
    const strange = {
      t: 'hello',
      v: 7,
      gateway: 'gw-rude',
      epoch: 'e',
      agentVersion: '9',
      lastSeq: 0,
      firstSeq: 1,
      holds: [],
    }
    expect(await ending(text(JSON.stringify(strange)))).toBe('SLUICE_LINK_VERSION')
    expect(witness.link!.status).toMatchObject({ connected: true, reconnects })
    using again = await ScriptedAgent.open(identity)
    expect((await again.hello()).t).toBe('welcome')
    const events = await house.reasonsFor('gw-rude')
    expect(events.some((reason) => reason.startsWith('Link'))).toBe(true)
  })

  it('takes a gap and the batch right after it without crying about a hole', async () => {
    using agent = await ScriptedAgent.open(await house.joinScripted('gw-gap'))
    await agent.hello({ lastSeq: 10_001 })
    const acked = agent.acked(10_002)
    agent.send({ t: 'gap', range: [1, 10_001], values: 0 })
    agent.send({ t: 'batch', seq: 10_002, lane: 'live', body: { d: [] } })
    await acked
    expect(house.log.filter(({ gateway }) => gateway === 'gw-gap').map(({ code }) => code)).not.toContain(
      'SLUICE_LINK_HOLE',
    )
  })

  it('lets go of an agent that neither reads nor says anything', async () => {
    const identity = await house.joinScripted('gw-deaf')
    using deaf = await ScriptedAgent.open(identity)
    await deaf.hello()
    deaf.pauseReading()
    deaf.acknowledge = false
    const session = () => house.core.hub.session('gw-deaf')
    const closed = until<void>(
      (push) => {
        const timer = setInterval(() => session() === undefined && push(), 20)
        return () => clearInterval(timer)
      },
      () => true,
      'the deaf agent is let go',
      20_000,
    )
    await closed
    expect(house.log.some(({ code, gateway }) => code === 'SLUICE_LINK_SILENT' && gateway === 'gw-deaf')).toBe(true)
  })
})

describe('an agent that is told nonsense', { timeout: 60_000 }, () => {
  it('says what was wrong, keeps working and comes back', async () => {
    const dataDir = join(house.folder, 'gw-poor')
    await house.createDevice('poor', { ...house.counterDevice(13), nodeName: 'gw-poor' })
    {
      await using agent = await house.startAgent({ dataDir, gateway: 'gw-poor' })
      await house.devices.until('poor', (d) => d.status?.state === 'online', 'poor is online')
      expect(agent.link?.status.lastError).toBeUndefined()
    }
    const welcome: HubFrame = {
      ...{ t: 'welcome', v: 1, session: 's', nowMs: Date.now(), heartbeatMs: 15_000 },
      ...{ received: [], window: { batches: 10, bytes: 100_000 } },
    }
    const cases: readonly (readonly [code: string, act: (socket: WebSocket) => void])[] = [
      ['SLUICE_LINK_BAD_FRAME', (socket) => socket.send('nonsense')],
      ['SLUICE_LINK_BAD_FRAME', (socket) => socket.send(Buffer.from([1, 2, 3]))],
      ['SLUICE_LINK_BAD_FRAME', (socket) => socket.send('{"t":"dance"}')],
      ['SLUICE_LINK_BAD_FRAME', (socket) => socket.send('{"t":"pong","id":1}')],
      ['SLUICE_LINK_VERSION', (socket) => socket.send(JSON.stringify({ ...welcome, v: 2 }))],
      [
        'SLUICE_LINK_BAD_FRAME',
        (socket) => {
          socket.send(JSON.stringify(welcome))
          socket.send('{"t":"objects","upserts":[{"kind":"Device"}],"deletes":[]}')
        },
      ],
      ['', (socket) => socket.send('x'.repeat(5 * 1024 * 1024))],
    ]
    for (const [code, act] of cases) {
      await using hub = await fakeHub(act)
      await using agent = await house.startAgent({ dataDir, gateway: 'gw-poor', hubUrl: hub.url })
      await hub.connected
      await eventually(() => agent.link?.status.connected === false, `the agent left after ${code}`)
      if (code !== '') expect(agent.link?.status.lastError?.code).toBe(code)
      const before = house.far.unit(13).served.length
      await house.far.afterReads(13, 2)
      expect(house.far.unit(13).served.length).toBeGreaterThan(before)
    }
    await using agent = await house.startAgent({ dataDir, gateway: 'gw-poor' })
    const count = house.far.unit(13).served.length
    await house.devices.until('poor', (d) => Number(twinOf(d, 'count')?.reported?.value) > count, 'it is back')
    expect(agent.link?.status.lastError).toBeUndefined()
  })

  it('refuses a server that does not speak the link, or that somebody else certified', async () => {
    const dataDir = join(house.folder, 'gw-poor')
    await using deaf = await fakeHub(() => {}, { subprotocol: 'mqtt' })
    {
      await using agent = await house.startAgent({ dataDir, gateway: 'gw-poor', hubUrl: deaf.url })
      await eventually(() => house.log.some(({ message }) => /subprotocol/i.test(message)), 'the agent says why')
      expect(agent.link?.status.connected).toBe(false)
    }
    await using stranger = await fakeHub(() => {}, { pki: join(house.folder, 'other-pki') })
    await using agent = await house.startAgent({ dataDir, gateway: 'gw-poor', hubUrl: stranger.url })
    await eventually(() => house.log.some(({ message }) => /certificate/i.test(message)), 'the agent does not trust it')
    expect(agent.link?.status.connected).toBe(false)
  })
})

/** Somebody who has the hub's place and certificate, and says what a test wants after every hello. */
async function fakeHub(
  act: (socket: WebSocket) => void,
  { pki = join(house.cloudData, 'pki'), subprotocol }: { pki?: string; subprotocol?: string } = {},
): Promise<{ url: string; connected: Promise<void> } & AsyncDisposable> {
  const authority = await CertificateAuthority.open(pki, systemClock)
  const { keyPem, certPem } = await authority.issueServer('fake', { dns: ['localhost'], ips: ['127.0.0.1'] }, 1)
  const server = createServer({ key: keyPem, cert: certPem })
  const connected = Promise.withResolvers<void>()
  const sockets = new WebSocketServer({
    server,
    ...(subprotocol === undefined ? {} : { handleProtocols: () => subprotocol }),
  })
  sockets.on('connection', (socket) => {
    socket.on('error', () => {})
    socket.once('message', () => {
      connected.resolve()
      act(socket)
    })
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `wss://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connected: connected.promise,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.clients) socket.terminate()
      server.closeAllConnections()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}
