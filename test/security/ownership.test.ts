import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { BatchBody, LinkDevice, LinkObject } from '../../api/link/messages.ts'
import { ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { Assembly } from '../harness/assembly.ts'
import { twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { isReported, readStream } from '../harness/stream.ts'
import { eventually } from '../harness/until.ts'

let house: Assembly
let thief: ScriptedAgent
let owner: ScriptedAgent
let uid = ''
let key = ''

beforeAll(async () => {
  house = await Assembly.start()
  await house.createModel('counter', counterModel)
  owner = await ScriptedAgent.open(await house.joinScripted('gw-owner'))
  thief = await ScriptedAgent.open(await house.joinScripted('gw-thief'))
  await owner.hello()
  await thief.hello()
  key = `${house.namespace}/safe`
  const device = await house.createDevice('safe', {
    ...house.counterDevice(),
    nodeName: 'gw-owner',
    desired: { speed: 5 },
  })
  uid = device.metadata.uid!
  await owner.object('Device', key)
}, 60_000)
afterAll(async () => {
  owner?.cut()
  thief?.cut()
  await house?.[Symbol.asyncDispose]()
})
beforeEach(() => house.tellOnFailure())

const now = () => Date.now()

describe("a gateway that speaks of another's device", { timeout: 30_000 }, () => {
  it('changes nothing, whatever it says; it is counted, logged and an Event', async () => {
    await using stream = readStream(house.endpoint, {}, '0')
    await owner.batch({ d: [[key, uid]], r: [[0, 'count', 1, now()]] })
    await house.devices.until('safe', (d) => twinOf(d, 'count')?.reported?.value === 1, 'the owner is heard')
    const { version } = (owner.objects.get(`Device ${key}`)!.object as LinkDevice).desired['speed']!
    const lies: readonly BatchBody[] = [
      { d: [[key, uid]], r: [[0, 'count', 666, now()]] },
      { d: [[key, uid]], w: [[0, 'speed', version, 'rejected', now(), 'lie']] },
      { d: [[key, uid]], s: [[0, 0, now(), 'lie']] },
      { d: [[key, 'made-up']], r: [[0, 'count', 667, now()]] },
      { d: [['kube-system/safe', uid]], r: [[0, 'count', 668, now()]] },
    ]
    for (const lie of lies) await thief.batch(lie)
    thief.send({ t: 'snapshot', seq: 99, last: true, body: lies[0]! })
    thief.send({
      t: 'objectsAck',
      items: [{ kind: 'Device', key, rev: 'x', ok: false, code: 'SLUICE_LIE', message: 'lie' }],
    })
    await owner.batch({ d: [[key, uid]], r: [[0, 'count', 2, now()]] })
    const held = await house.devices.until('safe', (d) => twinOf(d, 'count')?.reported?.value === 2, 'the owner again')
    expect(twinOf(held, 'speed')?.state).toBe('pending')
    expect(held.status?.conditions?.some(({ message }) => /lie/i.test(message ?? ''))).toBe(false)
    await stream.until((e) => isReported(e) && e.value === 2, 'the stream')
    expect(JSON.stringify(stream.events)).not.toMatch(/66[678]|lie/)
    expect(
      house.log.filter(({ code, gateway }) => code === 'SLUICE_LINK_NOT_OWNED' && gateway === 'gw-thief').length,
    ).toBeGreaterThanOrEqual(5)
    await eventually(async () => (await house.reasonsFor('gw-thief')).includes('LinkNotOwned'), 'an Event')
    expect(await house.reasonsFor('gw-owner')).not.toContain('LinkNotOwned')
  })

  it('gets none of its objects and cannot set its wishes', async () => {
    expect([...thief.objects.keys()]).toEqual([])
    const answer = thief.next((frame) => frame.t === 'desireResult')
    thief.send({ t: 'desire', id: '1', device: key, property: 'speed', value: 9, version: 1e9, local: 1, atMs: now() })
    expect(await answer).toMatchObject({ ok: false, code: 'SLUICE_DESIRE_NOT_OWNED' })
    const unknown = thief.next((frame) => frame.t === 'desireResult')
    thief.send({
      t: 'desire',
      id: '2',
      device: 'kube-system/none',
      property: 'x',
      value: 9,
      version: 0,
      local: 1,
      atMs: now(),
    })
    expect(await unknown).toMatchObject({ ok: false, code: 'SLUICE_DESIRE_NOT_OWNED' })
    const device = await house.devices.until('safe', () => true, 'the device')
    expect(device.spec.desired).toEqual({ speed: 5 })
  })

  it('gets the device when it is moved to it, and the one before loses it', async () => {
    const gone = owner.next((frame) => frame.t === 'objects' && frame.deletes.some((item) => item.key === key))
    await house.patchDevice('safe', { spec: { nodeName: 'gw-thief' } })
    const isActive = ({ object }: LinkObject) => 'roaming' in object && object.roaming?.role === 'active'
    const [taken] = await Promise.all([thief.object('Device', key, isActive), gone])
    const term = (taken.object as LinkDevice).roaming!.term
    // A gateway that does not know the term it serves under has not been told to serve.
    await thief.batch({ d: [[key, uid]], r: [[0, 'count', 6, now()]] })
    await thief.batch({ d: [[key, uid, term]], r: [[0, 'count', 3, now()]] })
    await house.devices.until('safe', (d) => twinOf(d, 'count')?.reported?.value === 3, 'the new owner is heard')
    // What the one before recorded may still arrive; it is history and changes no state.
    await owner.batch({ d: [[key, uid]], r: [[0, 'count', 4, now()]] }, 'backfill')
    await thief.batch({ d: [[key, uid, term]], r: [[0, 'speed', 8, now()]] })
    const held = await house.devices.until('safe', (d) => twinOf(d, 'speed')?.reported?.value === 8, 'the next report')
    expect(twinOf(held, 'count')?.reported?.value).toBe(3)
  })
})
