import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../api/clock.ts'
import type { LinkDevice } from '../api/link/messages.ts'
import type { NoticeItem } from '../api/link/notices.ts'
import type { Gateway } from '../api/resources.ts'
import { EventRecorder } from './gateways/event-recorder.ts'
import { collectionPath, DEVICES, EVENTS, GATEWAYS, objectPath } from './kube/paths.ts'
import { CoreHouse, NS, twin } from './testing/core-house.ts'
import { httpsCall, ScriptedAgent } from './testing/scripted-agent.ts'

let house: CoreHouse

beforeAll(async () => {
  house = await CoreHouse.open()
})

afterAll(() => house[Symbol.asyncDispose]())

interface HeldEvent {
  readonly metadata: { readonly name: string }
  readonly reason: string
  readonly message: string
  readonly count: number
  readonly involvedObject: { readonly kind: string; readonly name: string }
}

describe('what a cloud core tells of its gateways', () => {
  it('says when a model is missing or refused', async () => {
    const { agent, key } = await house.connected('gw-j', 'meter-j')
    await house.kube.patch(objectPath(DEVICES, 'meter-j', NS), 'merge', { spec: { model: 'nowhere' } })
    const missing = await house.deviceUntil('meter-j', (d) => d.status?.state === 'invalid')
    expect(missing.status?.conditions?.find((c) => c.type === 'ModelValid')).toMatchObject({
      status: 'False',
      reason: 'ModelNotFound',
    })
    agent.acknowledge = false
    await house.kube.patch(objectPath(DEVICES, 'meter-j', NS), 'merge', { spec: { model: 'meter' } })
    const given = await agent.object('Device', key, (o) => (o.object as LinkDevice).spec.model === 'meter')
    const refused = { ok: false, code: 'SLUICE_MODEL_INVALID', message: 'voltage overlaps baud' }
    agent.send({ t: 'objectsAck', items: [{ kind: 'Device', key, rev: given.rev, ...refused }] })
    const said = await house.deviceUntil(
      'meter-j',
      (d) => d.status?.conditions?.find((c) => c.type === 'ModelValid')?.reason === 'ModelInvalid',
    )
    expect(said.status?.state).toBe('invalid')
    agent.cut()
  })

  it('counts gaps it was told of and holes nobody explained', async () => {
    const { agent, report } = await house.connected('gw-k', 'meter-k')
    const told = agent.acked(3)
    agent.send({ t: 'gap', range: [1, 3], values: 42 })
    await told
    const skipped = agent.acked(4)
    agent.send({ t: 'gap', range: [4, 4], values: 0 })
    await skipped
    await agent.batch(report(1), 'live', 5)
    await agent.batch(report(2), 'live', 8)
    agent.send({ t: 'status', status: { outbox: { batches: 0, bytes: 0, droppedValues: 42 } } })
    const metrics = await httpsCall(`${house.core.info.consoleUrl}/metrics`, {
      caPem: house.caPem,
      headers: house.bearer(),
    })
    // Numbers that an agent left out after an unclean end cost nothing and are no gap.
    expect(metrics.body).toContain('sluice_hub_gaps_total 1\n')
    expect(metrics.body).toContain('sluice_hub_lost_values_total 42')
    expect(metrics.body).toContain('sluice_hub_unexplained_batches_total 2')
    agent.cut()
  })

  it('shows how well a device is heard, its battery, and why a write waits', async () => {
    const { agent, uid, key } = await house.connected('gw-m', 'meter-m', { baud: 9600 })
    const version = (agent.objects.get(`Device ${key}`)!.object as LinkDevice).desired['baud']!.version
    const gateways = [{ id: '0016C001FF10A235', rssiDbm: -97, snrDb: 4.5 }, { id: 'roof' }]
    const facts = { rssiDbm: -97, snrDb: 4.5, spreadingFactor: 9, marginDb: 17, gateways, batteryPercent: 64 }
    const sneaky = { ...facts, online: false, order: { epoch: 9, seq: 9 } }
    await agent.batch({
      d: [[key, uid]],
      s: [[0, 1, Date.UTC(2026, 0, 1), null, 0.25, 12, sneaky]],
      n: [[0, 'baud', version, Date.now(), 'the device listens next about 10:31']],
    })
    const held = await house.deviceUntil('meter-m', (d) => d.status?.battery !== undefined)
    expect(held.status?.link).toEqual({
      ...{ errorRate: 0.25, latencyMs: 12, rssiDbm: -97, snrDb: 4.5, spreadingFactor: 9, marginDb: 17, gateways },
    })
    expect(held.status?.battery).toEqual({ percent: 64, at: '2026-01-01T00:00:00.000Z' })
    expect(held.status?.state).toBe('online')
    expect(twin(held, 'baud')).toMatchObject({ state: 'pending', reason: 'the device listens next about 10:31' })
    const answer = await httpsCall(`${house.core.info.consoleUrl}/v1/devices/${key}`, {
      caPem: house.caPem,
      headers: house.bearer(),
    })
    expect(JSON.parse(answer.body)).toMatchObject({ link: { marginDb: 17 }, battery: { percent: 64 } })
    agent.cut()
  })

  it('makes Kubernetes Events of what a gateway tells, counted, about its own devices only', async () => {
    await house.makeDevice('meter-o', 'gw-o')
    const { agent, key } = await house.connected('gw-n', 'meter-n')
    const notice = (id: string, about: string, count: number): NoticeItem => ({
      ...{ id, about, count, reason: 'MicFailure', message: `frame ${count}` },
      ...{ type: 'Warning', firstMs: Date.now(), lastMs: Date.now() },
    })
    agent.send({ t: 'events', items: [notice('x-1', key, 3), notice('x-2', `${NS}/meter-o`, 1)] })
    agent.send({ t: 'events', items: [notice('x-1', key, 2)] })
    const selected = { fieldSelector: 'reason=MicFailure' }
    const about = (name: string) => (event: HeldEvent) => event.involvedObject.name === name
    const mine = await house.objectUntil(collectionPath(EVENTS, NS), selected, about('meter-n'))
    expect(mine).toMatchObject({ message: 'frame 3', count: 3, involvedObject: { kind: 'Device' } })
    const foreign = await house.objectUntil(collectionPath(EVENTS, 'default'), selected, about('gw-n'))
    expect(foreign).toMatchObject({ message: `${NS}/meter-o: frame 1`, involvedObject: { kind: 'Gateway' } })
    const { items } = await house.kube.get<{ items: HeldEvent[] }>(collectionPath(EVENTS, NS))
    expect(items.filter(about('meter-o')).filter(({ reason }) => reason === 'MicFailure')).toEqual([])
    agent.cut()
  })

  it('goes on with a series of events after it started again', async () => {
    const stop = new AbortController()
    const trouble: unknown[] = []
    const recorder = () =>
      new EventRecorder({
        client: house.kube,
        clock: systemClock,
        signal: stop.signal,
        onTrouble: (e) => trouble.push(e),
      })
    const note = (count: number) => ({
      subject: { apiVersion: 'sluice.dev/v1alpha1', kind: 'Device', namespace: NS, name: 'meter-n' },
      ...{ type: 'Warning' as const, reason: 'FrameReplayed', message: `${count} times` },
      series: { id: 'gw-n/y-1', count, firstMs: 1_700_000_000_000, lastMs: 1_700_000_000_000 + count },
    })
    const until = (count: number) =>
      house.objectUntil<HeldEvent>(
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
    const { agent } = await house.connected('gw-p', 'meter-p')
    agent.cut()
    const later = await ScriptedAgent.open(agent.identity)
    await later.hello({ kinds: ['DeviceModel', 'Device', 'Gateway'] })
    const first = await later.object('Gateway', '/gw-p')
    await house.kube.patch<Gateway>(objectPath(GATEWAYS, 'gw-p'), 'merge', {
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
})
