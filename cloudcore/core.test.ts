import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../api/clock.ts'
import type { HubFrame, LinkDevice } from '../api/link/messages.ts'
import type { NoticeItem } from '../api/link/notices.ts'
import type { Device, DeviceModel, Gateway } from '../api/resources.ts'
import type { DeviceView, StreamEvent } from '../api/views.ts'
import { type CloudCore, runCloudCore } from './core.ts'
import { EventRecorder } from './gateways/event-recorder.ts'
import { KubeClient } from './kube/client.ts'
import { loadKubeconfig } from './kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, EVENTS, GATEWAYS, LEASES, NODES, objectPath } from './kube/paths.ts'
import { type AgentIdentity, httpsCall, joinAs, ScriptedAgent } from './testing/scripted-agent.ts'

const NS = 'plant'
let directory: string
let core: CloudCore
let kube: KubeClient
let caPem: string
let token: string

const start = async () => {
  core = await runCloudCore({ dataDir: directory, hubPort: 0, apiPort: 0, graceMs: 300 })
  kube = new KubeClient(loadKubeconfig(core.info.kubeconfig))
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-core-'))
  await start()
  caPem = readFileSync(join(directory, 'pki/ca.crt'), 'utf8')
  token = readFileSync(join(directory, 'console-token'), 'utf8').trim()
  await kube.create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NS } })
  await kube.create<DeviceModel>(collectionPath(DEVICE_MODELS, NS), model())
})

afterAll(async () => {
  await kube[Symbol.asyncDispose]()
  await core[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

const model = () => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'meter' },
  spec: {
    properties: [
      { name: 'voltage', type: 'float', unit: 'V', modbus: { input: 0, as: 'float32' } },
      { name: 'baud', type: 'int', access: 'readwrite', modbus: { holding: 28, as: 'uint16' } },
    ],
  },
})

const device = (name: string, gateway: string, desired?: object) => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata: { name },
  spec: {
    model: 'meter',
    nodeName: gateway,
    modbus: { tcp: { host: '192.0.2.1' }, unit: 1 },
    ...(desired === undefined ? {} : { desired }),
  },
})

const bearer = () => ({ authorization: `Bearer ${token}` })

async function joinGateway(gateway: string): Promise<AgentIdentity> {
  const made = await core.createToken({ gateway })
  return joinAs(gateway, made.token, core.info.hubUrl, caPem)
}

const makeDevice = (name: string, gateway: string, desired?: object) =>
  kube.create<Device>(collectionPath(DEVICES, NS), device(name, gateway, desired))

const getDevice = (name: string) => kube.get<Device>(objectPath(DEVICES, name, NS))

/** Waits until one object of a collection is as wanted, by watching it. */
async function objectUntil<T>(path: string, query: Record<string, string>, wants: (object: T) => boolean): Promise<T> {
  const closing = new AbortController()
  const list = await kube.get<{ items: T[]; metadata: { resourceVersion: string } }>(
    `${path}?${new URLSearchParams(query)}`,
  )
  const first = list.items.find(wants)
  if (first !== undefined) return first
  const { resourceVersion } = list.metadata
  const answer = await kube.stream(path, { ...query, watch: true, resourceVersion }, closing.signal)
  let held = ''
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      held += chunk.toString()
      const lines = held.split('\n')
      held = lines.pop() ?? ''
      for (const line of lines) {
        const { object } = JSON.parse(line) as { object: T }
        if (wants(object)) return object
      }
    }
  } finally {
    answer.destroy()
    closing.abort()
  }
  throw new Error(`the watch of ${path} ended`)
}

const deviceUntil = (name: string, wants: (device: Device) => boolean): Promise<Device> =>
  objectUntil(collectionPath(DEVICES, NS), { fieldSelector: `metadata.name=${name}` }, wants)

interface HeldEvent {
  readonly metadata: { readonly name: string }
  readonly reason: string
  readonly message: string
  readonly count: number
  readonly involvedObject: { readonly kind: string; readonly name: string }
}

const twin = (held: Device, name: string) => held.status?.twins?.find((candidate) => candidate.name === name)

/** A connected agent with its device, both new. */
async function connected(gateway: string, name: string, desired?: object) {
  const created = await makeDevice(name, gateway, desired)
  const agent = await ScriptedAgent.open(await joinGateway(gateway))
  await agent.hello()
  await agent.object('Device', `${NS}/${name}`)
  const uid = created.metadata.uid!
  const report = (value: number, atMs = Date.now()) => ({
    d: [[`${NS}/${name}`, uid]] as [string, string][],
    r: [[0, 'voltage', value, atMs] as const],
  })
  return { agent, uid, report, key: `${NS}/${name}` }
}

describe('a cloud core with its embedded API', () => {
  it('keeps secrets readable for their owner only', () => {
    for (const file of ['kubeconfig', 'cloud.json', 'console-token', 'pki/ca.key']) {
      expect(statSync(join(directory, file)).mode & 0o077).toBe(0)
    }
  })

  it('gives a gateway its models and devices, and shows what it reports in the API', async () => {
    const { agent, report, key } = await connected('gw-a', 'meter-a')
    expect(agent.objects.has(`DeviceModel ${NS}/meter`)).toBe(true)
    await agent.batch(report(230.125))
    const held = await deviceUntil('meter-a', (d) => twin(d, 'voltage')?.reported?.value === 230.125)
    expect(held.status).toMatchObject({ state: 'online', gateway: 'gw-a', summary: 'voltage 230.13 V' })
    expect(twin(held, 'voltage')?.reported).toMatchObject({ unit: 'V', quality: 'good' })
    const answer = await httpsCall(`${core.info.consoleUrl}/v1/devices/${key}`, { caPem, headers: bearer() })
    expect((JSON.parse(answer.body) as DeviceView).twins[0]).toMatchObject({
      name: 'voltage',
      value: 230.125,
      unit: 'V',
    })
    agent.cut()
  })

  it('numbers desired values by the resourceVersion they came with, and never goes back', async () => {
    const { agent, key, uid } = await connected('gw-b', 'meter-b', { baud: 9600 })
    const desired = () => (agent.objects.get(`Device ${key}`)!.object as LinkDevice).desired['baud']
    const first = desired()!
    expect(first.value).toBe(9600)
    const patched = await kube.patch<Device>(
      objectPath(DEVICES, 'meter-b', NS),
      'merge',
      { spec: { desired: { baud: 4800 } } },
      { query: { fieldManager: 'kubectl-patch' } },
    )
    await agent.object('Device', key, (o) => (o.object as LinkDevice).desired['baud']?.value === 4800)
    expect(desired()).toMatchObject({ version: Number(patched.metadata.resourceVersion), by: 'kubectl-patch' })
    agent.send({
      t: 'batch',
      seq: ++agent.seq,
      lane: 'live',
      body: {
        d: [[key, uid]],
        r: [[0, 'baud', 4800, Date.now()]],
        w: [[0, 'baud', desired()!.version, 'applied', Date.now()]],
      },
    })
    const synced = await deviceUntil('meter-b', (d) => twin(d, 'baud')?.state === 'synced')
    expect(twin(synced, 'baud')?.stateVersion).toBe(desired()!.version)
    const held = desired()!.version
    await kube.patch(objectPath(DEVICES, 'meter-b', NS), 'merge', { spec: { desired: { baud: null } } })
    const gone = await agent.object('Device', key, (o) => (o.object as LinkDevice).desired['baud'] === undefined)
    expect((gone.object as LinkDevice).removed?.['baud']).toBeGreaterThan(held)
    await kube.delete(objectPath(DEVICES, 'meter-b', NS))
    await makeDevice('meter-b', 'gw-b', { baud: 2400 })
    const renewed = await agent.object('Device', key, (o) => (o.object as LinkDevice).uid !== uid)
    expect((renewed.object as LinkDevice).desired['baud']!.version).toBeGreaterThan(held)
    agent.cut()
  })

  it('lets a person wait for the end of a write', async () => {
    const { agent, key, uid } = await connected('gw-c', 'meter-c')
    const put = httpsCall(`${core.info.consoleUrl}/v1/devices/${key}/desired/baud?wait=10s`, {
      method: 'PUT',
      caPem,
      headers: bearer(),
      body: { value: 19200, by: 'ada' },
    })
    const object = await agent.object('Device', key, (o) => (o.object as LinkDevice).desired['baud'] !== undefined)
    const { version, by } = (object.object as LinkDevice).desired['baud']!
    expect(by).toBe('sluice-console-ada')
    await agent.batch({ d: [[key, uid]], w: [[0, 'baud', version, 'rejected', Date.now(), 'the device refused it']] })
    const answer = JSON.parse((await put).body)
    expect(answer).toMatchObject({ state: 'rejected', reason: 'the device refused it' })
    const wrong = await httpsCall(`${core.info.consoleUrl}/v1/devices/${key}/desired/voltage`, {
      method: 'PUT',
      caPem,
      headers: bearer(),
      body: { value: 1 },
    })
    expect(wrong.status).toBe(400)
    agent.cut()
  })

  it('takes over a value set at the gateway, unless the cloud has a newer one', async () => {
    const { agent, key } = await connected('gw-d', 'meter-d', { baud: 9600 })
    const { version } = (agent.objects.get(`Device ${key}`)!.object as LinkDevice).desired['baud']!
    const offer = (id: string, value: number, based: number) => {
      const answer = agent.next((frame) => frame.t === 'desireResult' && frame.id === id)
      const base = { t: 'desire' as const, device: key, property: 'baud', local: 1, atMs: Date.now() }
      agent.send({ ...base, id, value, version: based })
      return answer
    }
    expect(await offer('1', 2400, version)).toMatchObject({ ok: true })
    expect((await getDevice('meter-d')).spec.desired).toEqual({ baud: 2400 })
    expect(await offer('2', 2400, version)).toMatchObject({ ok: true })
    expect(await offer('3', 4800, version)).toMatchObject({ ok: false, code: 'SLUICE_DESIRE_SUPERSEDED' })
    agent.cut()
  })

  it('marks twins stale when the gateway stays away, and restores them when it is back', async () => {
    const { agent, report } = await connected('gw-e', 'meter-e')
    await agent.batch(report(231))
    await deviceUntil('meter-e', (d) => d.status?.state === 'online')
    agent.cut()
    const stale = await deviceUntil('meter-e', (d) => d.status?.state === 'unknown')
    expect(stale.status?.staleSince).toBeDefined()
    expect(twin(stale, 'voltage')?.reported).toMatchObject({ value: 231, quality: 'stale' })
    const again = await ScriptedAgent.open(agent.identity)
    await again.hello({ lastSeq: agent.seq })
    const back = await deviceUntil('meter-e', (d) => d.status?.state === 'online')
    expect(back.status?.staleSince).toBeUndefined()
    expect(twin(back, 'voltage')?.reported).toMatchObject({ value: 231, quality: 'good' })
    const gateway = await kube.get<Gateway>(objectPath(GATEWAYS, 'gw-e'))
    expect(gateway.status?.agentVersion).toBe('0.1.0')
    await kube.get(objectPath(NODES, 'gw-e'))
    await kube.get(objectPath(LEASES, 'gw-e', 'kube-node-lease'))
    const events = await kube.list<{ reason: string; involvedObject: { name: string } }>(collectionPath(EVENTS))
    const reasons = events.items.filter((e) => e.involvedObject.name === 'gw-e').map((e) => e.reason)
    expect(reasons).toContain('GatewayOffline')
    again.cut()
  })

  it('acknowledges a batch once, stores it once, and streams it with its cursor', async () => {
    const { agent, report, key } = await connected('gw-f', 'meter-f')
    const before = JSON.parse((await streamAfter(0, `device=${key}`, 0)) || '[]') as StreamEvent[]
    expect(before).toEqual([])
    await agent.batch(report(1))
    await agent.batch(report(1), 'live', agent.seq)
    await agent.batch(report(2))
    const again = await ScriptedAgent.open(agent.identity)
    const welcome = await again.hello({ lastSeq: agent.seq })
    expect(welcome.received).toEqual([[1, 2]])
    await again.batch(report(3), 'live', 3)
    const events = JSON.parse(await streamAfter(1, `device=${key}`, 3)) as StreamEvent[]
    expect(events.map((e) => (e.kind === 'reported' ? e.value : undefined))).toEqual([1, 2, 3])
    again.cut()
  })

  it("refuses rows for another gateway's device, but keeps the rest of the batch", async () => {
    const mine = await connected('gw-g', 'meter-g')
    const other = await makeDevice('meter-other', 'gw-z')
    await mine.agent.batch({
      d: [
        [mine.key, mine.uid],
        [`${NS}/meter-other`, other.metadata.uid!],
      ],
      r: [
        [1, 'voltage', 666, Date.now()],
        [0, 'voltage', 5, Date.now()],
      ],
    })
    await deviceUntil('meter-g', (d) => twin(d, 'voltage')?.reported?.value === 5)
    expect(twin(await getDevice('meter-other'), 'voltage')).toBeUndefined()
    const events = JSON.parse(await streamAfter(1, `gateway=gw-g`, 1)) as StreamEvent[]
    expect(events).toHaveLength(1)
    mine.agent.cut()
  })

  it('ends a connection that breaks the rules with a reason, and goes on serving', async () => {
    const identity = await joinGateway('gw-h')
    const ending = async (act: (agent: ScriptedAgent) => void) => {
      const agent = await ScriptedAgent.open(identity)
      const error = agent.next((frame) => frame.t === 'error') as Promise<Extract<HubFrame, { t: 'error' }>>
      act(agent)
      const [frame] = await Promise.all([error, agent.closed])
      return frame.code
    }
    expect(await ending((a) => a.sendText('{'))).toBe('SLUICE_LINK_BAD_FRAME')
    expect(await ending((a) => a.sendBinary(Buffer.from([1, 2])))).toBe('SLUICE_LINK_BAD_FRAME')
    expect(await ending((a) => a.send({ t: 'ping', id: 1 }))).toBe('SLUICE_LINK_NO_HELLO')
    expect(await ending((a) => void a.hello({ v: 2 }).catch(() => {}))).toBe('SLUICE_LINK_VERSION')
    expect(await ending((a) => void a.hello({ gateway: 'gw-a' }).catch(() => {}))).toBe('SLUICE_LINK_WRONG_GATEWAY')
    const huge = await ScriptedAgent.open(identity)
    huge.sendText(`{"t":"${'x'.repeat(5 * 1024 * 1024)}"}`)
    expect((await huge.closed).code).not.toBe(1000)
    const fine = await ScriptedAgent.open(identity)
    await fine.hello()
    fine.cut()
  })

  it('keeps gateways and strangers out of what is not theirs', async () => {
    const identity = await joinGateway('gw-i')
    const url = `${core.info.consoleUrl}/v1/devices`
    const { certPem, keyPem } = identity
    expect((await httpsCall(url, { caPem })).status).toBe(401)
    expect((await httpsCall(url, { caPem, certPem, keyPem })).status).toBe(403)
    const admin = loadKubeconfig(core.info.kubeconfig)
    await using asGateway = new KubeClient({ ...admin, certPem, keyPem })
    await expect(asGateway.list(collectionPath(DEVICES))).rejects.toMatchObject({ code: 'SLUICE_KUBE_FORBIDDEN' })
    expect((await httpsCall(url, { caPem, certPem: admin.certPem!, keyPem: admin.keyPem! })).status).toBe(200)
    const revoke = `${core.info.consoleUrl}/v1/gateways/gw-i/revoke`
    const agent = await ScriptedAgent.open(identity)
    await agent.hello()
    const answer = await httpsCall(revoke, { method: 'POST', caPem, headers: bearer(), body: {} })
    expect(JSON.parse(answer.body)).toMatchObject({ revoked: 1 })
    await agent.closed
    await expect(ScriptedAgent.open(identity)).rejects.toMatchObject({ code: 'SLUICE_JOIN_CERT_REVOKED', status: 403 })
  })

  it('says when a model is missing or refused', async () => {
    const { agent, key } = await connected('gw-j', 'meter-j')
    await kube.patch(objectPath(DEVICES, 'meter-j', NS), 'merge', { spec: { model: 'nowhere' } })
    const missing = await deviceUntil('meter-j', (d) => d.status?.state === 'invalid')
    expect(missing.status?.conditions?.find((c) => c.type === 'ModelValid')).toMatchObject({
      status: 'False',
      reason: 'ModelNotFound',
    })
    agent.acknowledge = false
    await kube.patch(objectPath(DEVICES, 'meter-j', NS), 'merge', { spec: { model: 'meter' } })
    const given = await agent.object('Device', key, (o) => (o.object as LinkDevice).spec.model === 'meter')
    const refused = { ok: false, code: 'SLUICE_MODEL_INVALID', message: 'voltage overlaps baud' }
    agent.send({ t: 'objectsAck', items: [{ kind: 'Device', key, rev: given.rev, ...refused }] })
    const said = await deviceUntil(
      'meter-j',
      (d) => d.status?.conditions?.find((c) => c.type === 'ModelValid')?.reason === 'ModelInvalid',
    )
    expect(said.status?.state).toBe('invalid')
    agent.cut()
  })

  it('counts gaps it was told of and holes nobody explained', async () => {
    const { agent, report } = await connected('gw-k', 'meter-k')
    const told = agent.acked(3)
    agent.send({ t: 'gap', range: [1, 3], values: 42 })
    await told
    const skipped = agent.acked(4)
    agent.send({ t: 'gap', range: [4, 4], values: 0 })
    await skipped
    await agent.batch(report(1), 'live', 5)
    await agent.batch(report(2), 'live', 8)
    agent.send({ t: 'status', status: { outbox: { batches: 0, bytes: 0, droppedValues: 42 } } })
    const metrics = await httpsCall(`${core.info.consoleUrl}/metrics`, { caPem, headers: bearer() })
    // Numbers that an agent left out after an unclean end cost nothing and are no gap.
    expect(metrics.body).toContain('sluice_hub_gaps_total 1\n')
    expect(metrics.body).toContain('sluice_hub_lost_values_total 42')
    expect(metrics.body).toContain('sluice_hub_unexplained_batches_total 2')
    agent.cut()
  })

  it('shows how well a device is heard, its battery, and why a write waits', async () => {
    const { agent, uid, key } = await connected('gw-m', 'meter-m', { baud: 9600 })
    const version = (agent.objects.get(`Device ${key}`)!.object as LinkDevice).desired['baud']!.version
    const facts = { rssiDbm: -97, snrDb: 4.5, spreadingFactor: 9, marginDb: 17, batteryPercent: 64 }
    const sneaky = { ...facts, online: false, order: { epoch: 9, seq: 9 } }
    await agent.batch({
      d: [[key, uid]],
      s: [[0, 1, Date.UTC(2026, 0, 1), null, 0.25, 12, sneaky]],
      n: [[0, 'baud', version, Date.now(), 'the device listens next about 10:31']],
    })
    const held = await deviceUntil('meter-m', (d) => d.status?.battery !== undefined)
    expect(held.status?.link).toEqual({
      ...{ errorRate: 0.25, latencyMs: 12, rssiDbm: -97, snrDb: 4.5, spreadingFactor: 9, marginDb: 17 },
    })
    expect(held.status?.battery).toEqual({ percent: 64, at: '2026-01-01T00:00:00.000Z' })
    expect(held.status?.state).toBe('online')
    expect(twin(held, 'baud')).toMatchObject({ state: 'pending', reason: 'the device listens next about 10:31' })
    const answer = await httpsCall(`${core.info.consoleUrl}/v1/devices/${key}`, { caPem, headers: bearer() })
    expect(JSON.parse(answer.body)).toMatchObject({ link: { marginDb: 17 }, battery: { percent: 64 } })
    agent.cut()
  })

  it('makes Kubernetes Events of what a gateway tells, counted, about its own devices only', async () => {
    await makeDevice('meter-o', 'gw-o')
    const { agent, key } = await connected('gw-n', 'meter-n')
    const notice = (id: string, about: string, count: number): NoticeItem => ({
      ...{ id, about, count, reason: 'MicFailure', message: `frame ${count}` },
      ...{ type: 'Warning', firstMs: Date.now(), lastMs: Date.now() },
    })
    agent.send({ t: 'events', items: [notice('x-1', key, 3), notice('x-2', `${NS}/meter-o`, 1)] })
    agent.send({ t: 'events', items: [notice('x-1', key, 2)] })
    const selected = { fieldSelector: 'reason=MicFailure' }
    const about = (name: string) => (event: HeldEvent) => event.involvedObject.name === name
    const mine = await objectUntil(collectionPath(EVENTS, NS), selected, about('meter-n'))
    expect(mine).toMatchObject({ message: 'frame 3', count: 3, involvedObject: { kind: 'Device' } })
    const foreign = await objectUntil(collectionPath(EVENTS, 'default'), selected, about('gw-n'))
    expect(foreign).toMatchObject({ message: `${NS}/meter-o: frame 1`, involvedObject: { kind: 'Gateway' } })
    const { items } = await kube.get<{ items: HeldEvent[] }>(collectionPath(EVENTS, NS))
    expect(items.filter(about('meter-o')).filter(({ reason }) => reason === 'MicFailure')).toEqual([])
    agent.cut()
  })

  it('goes on with a series of events after it started again', async () => {
    const stop = new AbortController()
    const trouble: unknown[] = []
    const recorder = () =>
      new EventRecorder({ client: kube, clock: systemClock, signal: stop.signal, onTrouble: (e) => trouble.push(e) })
    const note = (count: number) => ({
      subject: { apiVersion: 'sluice.dev/v1alpha1', kind: 'Device', namespace: NS, name: 'meter-n' },
      ...{ type: 'Warning' as const, reason: 'FrameReplayed', message: `${count} times` },
      series: { id: 'gw-n/y-1', count, firstMs: 1_700_000_000_000, lastMs: 1_700_000_000_000 + count },
    })
    const until = (count: number) =>
      objectUntil<HeldEvent>(
        collectionPath(EVENTS, NS),
        { fieldSelector: 'reason=FrameReplayed' },
        (event) => event.count === count,
      )
    recorder().record(note(2))
    const first = await until(2)
    recorder().record(note(7))
    const second = await until(7)
    expect(second).toMatchObject({ metadata: { name: first.metadata.name }, message: '7 times' })
    expect(trouble).toEqual([])
    stop.abort()
  })

  it('gives a gateway its own object, and every change of it', async () => {
    const { agent } = await connected('gw-p', 'meter-p')
    agent.cut()
    const later = await ScriptedAgent.open(agent.identity)
    await later.hello({ kinds: ['DeviceModel', 'Device', 'Gateway'] })
    const first = await later.object('Gateway', '/gw-p')
    await kube.patch<Gateway>(objectPath(GATEWAYS, 'gw-p'), 'merge', {
      metadata: { labels: { site: 'north' } },
      spec: { mode: 'tethered' },
    })
    const next = await later.object(
      'Gateway',
      '/gw-p',
      (o) => o.rev !== first.rev && o.kind === 'Gateway' && 'mode' in o.object.spec,
    )
    expect(next.object).toMatchObject({ spec: { mode: 'tethered' }, labels: { site: 'north' } })
    expect(agent.objects.has('Gateway /gw-p')).toBe(false)
    later.cut()
  })

  it('knows everything again after a restart, and nothing goes back', async () => {
    const { agent, report, key } = await connected('gw-l', 'meter-l', { baud: 9600 })
    await agent.batch(report(10))
    const before = await deviceUntil(
      'meter-l',
      (d) => twin(d, 'voltage')?.reported?.value === 10 && twin(d, 'baud') !== undefined,
    )
    await kube[Symbol.asyncDispose]()
    await core[Symbol.asyncDispose]()
    await start()
    const after = await ScriptedAgent.open({ ...agent.identity, hubUrl: core.info.hubUrl.replace('https', 'wss') })
    for (const [id, object] of agent.objects) after.objects.set(id, object)
    const welcome = await after.hello({ lastSeq: agent.seq })
    expect(welcome.received).toEqual([[1, 1]])
    await after.batch(report(9), 'backfill', 1)
    await after.batch(report(11), 'live', 2)
    const held = await deviceUntil('meter-l', (d) => twin(d, 'voltage')?.reported?.value === 11)
    expect(twin(held, 'baud')?.desired?.version).toBe(twin(before, 'baud')?.desired?.version)
    const resent = after.frames.some((frame) => frame.t === 'objects' && frame.upserts.some((o) => o.key === key))
    expect(resent).toBe(false)
    after.cut()
  })
})

/** Reads `count` events of the stream after a cursor, as one JSON array. */
async function streamAfter(after: number, query: string, count: number): Promise<string> {
  if (count === 0) return '[]'
  const { request } = await import('node:https')
  return new Promise((resolve, reject) => {
    const call = request(
      `${core.info.consoleUrl}/v1/events?${query}`,
      { ca: caPem, agent: false, headers: { ...bearer(), 'last-event-id': String(after) } },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => {
          text += chunk
          const complete = text.slice(0, text.lastIndexOf('\n\n'))
          const events = [...complete.matchAll(/^data: (\[.*)$/gm)].flatMap((m) => JSON.parse(m[1]!) as StreamEvent[])
          if (events.length < count) return
          call.destroy()
          resolve(JSON.stringify(events))
        })
      },
    )
    call.on('error', reject)
    call.end()
  })
}
