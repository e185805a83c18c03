import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import type { AgentFrame } from '../../api/link/messages.ts'
import { readAgentFrame } from './frames.ts'

const samples: AgentFrame[] = [
  {
    t: 'hello',
    v: 1,
    gateway: 'gw',
    epoch: 'e',
    agentVersion: '1',
    lastSeq: 4,
    firstSeq: 2,
    holds: [['Device', 'n/a', 'r']],
  },
  {
    t: 'batch',
    seq: 1,
    lane: 'live',
    body: {
      d: [['n/a', 'uid', 4]],
      r: [
        [0, 'p', { ü: [1, null] }, 1.5],
        [0, 'q', null, 1, 'bad(modbus-exception-2)', 'why'],
      ],
      w: [[0, 'p', 7, 'rejected', 1, 'no', 2]],
      s: [
        [0, 1, 1, null, 0.5, 12],
        [0, 1, 1, null, null, null, { rssiDbm: -60, snrDb: 3.5, spreadingFactor: 12, marginDb: -1, batteryPercent: 0 }],
        [0, 1, 1, null, null, null, { gateways: [{ id: 'roof', rssiDbm: -99.5, snrDb: -7 }, { id: 'hall' }] }],
      ],
      n: [[0, 'p', 7, 1, 'listens next at ten', 1]],
    },
  },
  { t: 'snapshot', seq: 0, last: true, body: { d: [] } },
  { t: 'gap', range: [1, 3], values: 12 },
  { t: 'ping', id: 3 },
  { t: 'status', status: { state: 'online' } },
  { t: 'objectsAck', items: [{ kind: 'Device', key: 'n/a', rev: 'r', ok: false, code: 'C', message: 'm' }] },
  { t: 'desire', id: '1', device: 'n/a', property: 'p', value: 1, version: 0, local: 1, atMs: 5 },
  {
    t: 'sighted',
    items: [
      {
        ...{ protocol: 'ble', id: 'aa:bb', address: { mac: 'aa:bb' }, name: 'Tag', rssiDbm: -60, atMs: 5, count: 2 },
        candidates: [{ model: 'tag', score: 0.5, why: 'its name' }],
        facts: { vendor: 'Acme' },
      },
    ],
  },
  {
    t: 'events',
    items: [
      {
        id: 'a-1',
        about: 'n/a',
        type: 'Warning',
        reason: 'MicFailure',
        message: 'no',
        count: 3,
        firstMs: 1,
        lastMs: 2,
      },
      { id: 'a-2', about: 'gateway', type: 'Normal', reason: 'Up', message: 'yes', count: 1, firstMs: 1, lastMs: 1 },
    ],
  },
  { t: 'heard', items: [['n/a', 'uid', -71.5, 20]] },
  { t: 'error', code: 'C', message: 'm' },
]

describe('reading frames of an agent', () => {
  it('takes every kind there is', () => {
    for (const sample of samples) expect(readAgentFrame(JSON.stringify(sample))).toEqual(sample)
  })

  it('refuses what is wrong in one place', () => {
    const wrong = [
      '',
      'null',
      '[]',
      '{"t":"batch"}',
      '{"t":"who"}',
      '{"t":"sighted","items":[{"protocol":"ble","id":"","address":{},"candidates":[],"facts":{},"atMs":1,"count":1}]}',
      '{"t":"sighted","items":[{"protocol":"ble","id":"a","address":[],"candidates":[],"facts":{},"atMs":1,"count":1}]}',
      '{"t":"batch","seq":0,"lane":"live","body":{"d":[]}}',
      '{"t":"batch","seq":1,"lane":"up","body":{"d":[]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[],"r":[[0,"p",1,1]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"r":[[0,"p",1,1e99]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"r":[[0,"p",1,1,"fine"]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"w":[[0,"p",1,"synced",1]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u",-1]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"s":[[0,1,1,null,0,0,{"batteryPercent":101}]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"s":[[0,1,1,null,0,0,{"spreadingFactor":7.5}]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"s":[[0,1,1,null,0,0,{"gateways":[{"id":""}]}]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"s":[[0,1,1,null,0,0,{"gateways":[{"id":"a"},{"id":"a"}]}]]}}',
      '{"t":"batch","seq":1,"lane":"live","body":{"d":[["n/a","u"]],"n":[[0,"p",1,1,""]]}}',
      '{"t":"events","items":[{"id":"a","about":"a","type":"Normal","reason":"R","message":"m","count":1,"firstMs":1,"lastMs":1}]}',
      '{"t":"events","items":[{"id":"a","about":"gateway","type":"Bad","reason":"R","message":"m","count":1,"firstMs":1,"lastMs":1}]}',
      '{"t":"events","items":[{"id":"a","about":"gateway","type":"Normal","reason":"a b","message":"m","count":1,"firstMs":1,"lastMs":1}]}',
      '{"t":"heard","items":[["n/a","u",-9999,0]]}',
      '{"t":"heard","items":[["n/a","u"]]}',
      '{"t":"gap","range":[5,2],"values":1}',
      '{"t":"desire","id":"1","device":"a","property":"p","value":1,"version":0,"local":0,"atMs":1}',
    ]
    for (const text of wrong) expect(() => readAgentFrame(text), text).toThrowError(SluiceError)
  })

  it('answers any bytes and any changed frame with a frame or a typed error', () => {
    const bent = fc
      .tuple(
        fc.constantFrom(...samples),
        fc.array(fc.tuple(fc.nat(400), fc.string({ maxLength: 3 })), { maxLength: 4 }),
      )
      .map(([sample, edits]) => {
        let text = JSON.stringify(sample)
        for (const [at, insert] of edits)
          text = text.slice(0, at % text.length) + insert + text.slice((at % text.length) + 1)
        return text
      })
    const shaped = fc.record({
      t: fc.constantFrom(...samples.map((s) => s.t)),
      body: fc.jsonValue(),
      holds: fc.jsonValue(),
      items: fc.jsonValue(),
      v: fc.constant(1),
    })
    const anything = fc.oneof(
      fc.string(),
      bent,
      fc.jsonValue().map((v) => JSON.stringify(v)),
      shaped.map((v) => JSON.stringify(v)),
    )
    fc.assert(
      fc.property(anything, (text) => {
        try {
          readAgentFrame(text)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SluiceError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
