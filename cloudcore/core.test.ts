import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HubFrame, LinkDevice } from '../api/link/messages.ts'
import type { Device, Gateway } from '../api/resources.ts'
import type { DeviceView, StreamEvent } from '../api/views.ts'
import { KubeClient } from './kube/client.ts'
import { loadKubeconfig } from './kube/config.ts'
import { collectionPath, DEVICES, EVENTS, GATEWAYS, LEASES, NODES, objectPath } from './kube/paths.ts'
import { CoreHouse, NS, twin } from './testing/core-house.ts'
import { httpsCall, ScriptedAgent } from './testing/scripted-agent.ts'

let house: CoreHouse

beforeAll(async () => {
  house = await CoreHouse.open()
})

afterAll(() => house[Symbol.asyncDispose]())

describe('a cloud core with its embedded API', () => {
  it('keeps secrets readable for their owner only', () => {
    for (const file of ['kubeconfig', 'cloud.json', 'console-token', 'pki/ca.key']) {
      expect(statSync(join(house.directory, file)).mode & 0o077).toBe(0)
    }
  })

  it('gives a gateway its models and devices, and shows what it reports in the API', async () => {
    const { agent, report, key } = await house.connected('gw-a', 'meter-a')
    expect(agent.objects.has(`DeviceModel ${NS}/meter`)).toBe(true)
    await agent.batch(report(230.125))
    const held = await house.deviceUntil('meter-a', (d) => twin(d, 'voltage')?.reported?.value === 230.125)
    expect(held.status).toMatchObject({ state: 'online', gateway: 'gw-a', summary: 'voltage 230.13 V' })
    expect(twin(held, 'voltage')?.reported).toMatchObject({ unit: 'V', quality: 'good' })
    const answer = await httpsCall(`${house.core.info.consoleUrl}/v1/devices/${key}`, {
      caPem: house.caPem,
      headers: house.bearer(),
    })
    expect((JSON.parse(answer.body) as DeviceView).twins[0]).toMatchObject({
      name: 'voltage',
      value: 230.125,
      unit: 'V',
    })
    agent.cut()
  })

  it('numbers desired values by the resourceVersion they came with, and never goes back', async () => {
    const { agent, key, uid } = await house.connected('gw-b', 'meter-b', { baud: 9600 })
    const desired = () => (agent.objects.get(`Device ${key}`)!.object as LinkDevice).desired['baud']
    const first = desired()!
    expect(first.value).toBe(9600)
    const patched = await house.kube.patch<Device>(
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
    const synced = await house.deviceUntil('meter-b', (d) => twin(d, 'baud')?.state === 'synced')
    expect(twin(synced, 'baud')?.stateVersion).toBe(desired()!.version)
    const held = desired()!.version
    await house.kube.patch(objectPath(DEVICES, 'meter-b', NS), 'merge', { spec: { desired: { baud: null } } })
    const gone = await agent.object('Device', key, (o) => (o.object as LinkDevice).desired['baud'] === undefined)
    expect((gone.object as LinkDevice).removed?.['baud']).toBeGreaterThan(held)
    await house.kube.delete(objectPath(DEVICES, 'meter-b', NS))
    await house.makeDevice('meter-b', 'gw-b', { baud: 2400 })
    const renewed = await agent.object('Device', key, (o) => (o.object as LinkDevice).uid !== uid)
    expect((renewed.object as LinkDevice).desired['baud']!.version).toBeGreaterThan(held)
    agent.cut()
  })

  it('lets a person wait for the end of a write', async () => {
    const { agent, key, uid } = await house.connected('gw-c', 'meter-c')
    const put = httpsCall(`${house.core.info.consoleUrl}/v1/devices/${key}/desired/baud?wait=10s`, {
      method: 'PUT',
      caPem: house.caPem,
      headers: house.bearer(),
      body: { value: 19200, by: 'ada' },
    })
    const object = await agent.object('Device', key, (o) => (o.object as LinkDevice).desired['baud'] !== undefined)
    const { version, by } = (object.object as LinkDevice).desired['baud']!
    expect(by).toBe('sluice-console-ada')
    await agent.batch({ d: [[key, uid]], w: [[0, 'baud', version, 'rejected', Date.now(), 'the device refused it']] })
    const answer = JSON.parse((await put).body)
    expect(answer).toMatchObject({ state: 'rejected', reason: 'the device refused it' })
    const wrong = await httpsCall(`${house.core.info.consoleUrl}/v1/devices/${key}/desired/voltage`, {
      method: 'PUT',
      caPem: house.caPem,
      headers: house.bearer(),
      body: { value: 1 },
    })
    expect(wrong.status).toBe(400)
    agent.cut()
  })

  it('takes over a value set at the gateway, unless the cloud has a newer one', async () => {
    const { agent, key } = await house.connected('gw-d', 'meter-d', { baud: 9600 })
    const { version } = (agent.objects.get(`Device ${key}`)!.object as LinkDevice).desired['baud']!
    const offer = (id: string, value: number, local: number) => {
      const answer = agent.next((frame) => frame.t === 'desireResult' && frame.id === id)
      const base = { t: 'desire' as const, device: key, property: 'baud', atMs: Date.now() }
      agent.send({ ...base, id, value, version, local })
      return answer
    }
    const desired = async () => (await house.getDevice('meter-d')).spec.desired
    expect(await offer('1', 2400, 1)).toMatchObject({ ok: true })
    expect(await desired()).toEqual({ baud: 2400 })
    expect(await offer('2', 2400, 1)).toMatchObject({ ok: true })
    // Set again at the gateway before it heard that the first was taken: its own value before is no newer one.
    expect(await offer('3', 4800, 2)).toMatchObject({ ok: true })
    expect(await desired()).toEqual({ baud: 4800 })
    const quick = [1200, 2400, 4800, 9600].map((value, n) => offer(`quick ${n}`, value, 3 + n))
    for (const answer of await Promise.all(quick)) expect(answer).toMatchObject({ ok: true })
    expect(await desired()).toEqual({ baud: 9600 })
    await house.kube.patch(objectPath(DEVICES, 'meter-d', NS), 'merge', { spec: { desired: { baud: 19200 } } })
    expect(await offer('4', 4800, 7)).toMatchObject({ ok: false, code: 'SLUICE_DESIRE_SUPERSEDED' })
    expect(await desired()).toEqual({ baud: 19200 })
    agent.cut()
  })

  it('marks twins stale when the gateway stays away, and restores them when it is back', async () => {
    const { agent, report } = await house.connected('gw-e', 'meter-e')
    await agent.batch(report(231))
    await house.deviceUntil('meter-e', (d) => d.status?.state === 'online')
    agent.cut()
    const stale = await house.deviceUntil('meter-e', (d) => d.status?.state === 'unknown')
    expect(stale.status?.staleSince).toBeDefined()
    expect(twin(stale, 'voltage')?.reported).toMatchObject({ value: 231, quality: 'stale' })
    const again = await ScriptedAgent.open(agent.identity)
    await again.hello({ lastSeq: agent.seq })
    const back = await house.deviceUntil('meter-e', (d) => d.status?.state === 'online')
    expect(back.status?.staleSince).toBeUndefined()
    expect(twin(back, 'voltage')?.reported).toMatchObject({ value: 231, quality: 'good' })
    const gateway = await house.kube.get<Gateway>(objectPath(GATEWAYS, 'gw-e'))
    expect(gateway.status?.agentVersion).toBe('0.1.0')
    await house.kube.get(objectPath(NODES, 'gw-e'))
    await house.kube.get(objectPath(LEASES, 'gw-e', 'kube-node-lease'))
    const events = await house.kube.list<{ reason: string; involvedObject: { name: string } }>(collectionPath(EVENTS))
    const reasons = events.items.filter((e) => e.involvedObject.name === 'gw-e').map((e) => e.reason)
    expect(reasons).toContain('GatewayOffline')
    again.cut()
  })

  it('acknowledges a batch once, stores it once, and streams it with its cursor', async () => {
    const { agent, report, key } = await house.connected('gw-f', 'meter-f')
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
    const mine = await house.connected('gw-g', 'meter-g')
    const other = await house.makeDevice('meter-other', 'gw-z')
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
    await house.deviceUntil('meter-g', (d) => twin(d, 'voltage')?.reported?.value === 5)
    expect(twin(await house.getDevice('meter-other'), 'voltage')).toBeUndefined()
    const events = JSON.parse(await streamAfter(1, `gateway=gw-g`, 1)) as StreamEvent[]
    expect(events).toHaveLength(1)
    mine.agent.cut()
  })

  it('ends a connection that breaks the rules with a reason, and goes on serving', async () => {
    const identity = await house.joinGateway('gw-h')
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
    const identity = await house.joinGateway('gw-i')
    const url = `${house.core.info.consoleUrl}/v1/devices`
    const { certPem, keyPem } = identity
    expect((await httpsCall(url, { caPem: house.caPem })).status).toBe(401)
    expect((await httpsCall(url, { caPem: house.caPem, certPem, keyPem })).status).toBe(403)
    const admin = loadKubeconfig(house.core.info.kubeconfig)
    await using asGateway = new KubeClient({ ...admin, certPem, keyPem })
    await expect(asGateway.list(collectionPath(DEVICES))).rejects.toMatchObject({ code: 'SLUICE_KUBE_FORBIDDEN' })
    expect((await httpsCall(url, { caPem: house.caPem, certPem: admin.certPem!, keyPem: admin.keyPem! })).status).toBe(
      200,
    )
    const revoke = `${house.core.info.consoleUrl}/v1/gateways/gw-i/revoke`
    const agent = await ScriptedAgent.open(identity)
    await agent.hello()
    const answer = await httpsCall(revoke, { method: 'POST', caPem: house.caPem, headers: house.bearer(), body: {} })
    expect(JSON.parse(answer.body)).toMatchObject({ revoked: 1 })
    await agent.closed
    await expect(ScriptedAgent.open(identity)).rejects.toMatchObject({ code: 'SLUICE_JOIN_CERT_REVOKED', status: 403 })
  })

  it('knows everything again after a restart, and nothing goes back', async () => {
    const { agent, report, key } = await house.connected('gw-l', 'meter-l', { baud: 9600 })
    await agent.batch(report(10))
    const before = await house.deviceUntil(
      'meter-l',
      (d) => twin(d, 'voltage')?.reported?.value === 10 && twin(d, 'baud') !== undefined,
    )
    await house.stop()
    await house.start()
    const after = await ScriptedAgent.open({
      ...agent.identity,
      hubUrl: house.core.info.hubUrl.replace('https', 'wss'),
    })
    for (const [id, object] of agent.objects) after.objects.set(id, object)
    const welcome = await after.hello({ lastSeq: agent.seq })
    expect(welcome.received).toEqual([[1, 1]])
    await after.batch(report(9), 'backfill', 1)
    await after.batch(report(11), 'live', 2)
    const held = await house.deviceUntil('meter-l', (d) => twin(d, 'voltage')?.reported?.value === 11)
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
      `${house.core.info.consoleUrl}/v1/events?${query}`,
      { ca: house.caPem, agent: false, headers: { ...house.bearer(), 'last-event-id': String(after) } },
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
