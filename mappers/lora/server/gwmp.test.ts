import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { Deduplicator } from './dedup.ts'
import type { Heard } from './gateway.ts'
import { buildPullResp, parseDatagram, parseDatr, readPush } from './gwmp.ts'

const EUI = 'AA555A0000000101'
const datagram = (id: number, body = '') =>
  Buffer.concat([Buffer.from([2, 0x12, 0x34, id]), Buffer.from(EUI, 'hex'), Buffer.from(body)])

describe('Semtech UDP', () => {
  it("reads a forwarder's datagrams", () => {
    expect(parseDatagram(datagram(0, '{}'))).toMatchObject({ kind: 'push', token: 0x1234, gateway: EUI })
    expect(parseDatagram(datagram(2))).toMatchObject({ kind: 'pull', gateway: EUI })
    expect(parseDatagram(datagram(5))).toMatchObject({ kind: 'txAck', error: undefined })
    expect(parseDatagram(datagram(5, '{"txpk_ack":{"error":"TOO_LATE"}}'))).toMatchObject({
      kind: 'txAck',
      error: 'TOO_LATE',
    })
    expect(parseDatagram(datagram(5, '{"txpk_ack":{"error":"NONE"}}'))).toMatchObject({
      kind: 'txAck',
      error: undefined,
    })
  })

  it('leaves out frames with a wrong checksum and nonsense, and keeps the others', () => {
    const good =
      '{"tmst":5,"freq":868.1,"stat":1,"datr":"SF9BW125","lsnr":-3.2,"rssi":-110,"data":"QAECAwQAAAACAQIDBAU="}'
    const bad = '{"tmst":5,"freq":868.1,"stat":-1,"datr":"SF9BW125","data":"QAEC"}'
    const content = readPush(Buffer.from(`{"rxpk":[${good},${bad},7],"stat":{"rxnb":2}}`), EUI, 0)
    expect(content?.heard).toHaveLength(1)
    expect(content?.heard[0]).toMatchObject({
      rssiDbm: -110,
      snrDb: -3.2,
      frequencyHz: 868_100_000,
      modulation: { sf: 9, bandwidthHz: 125_000 },
    })
    expect(content?.dropped).toEqual({ crc: 1, 'bad-rxpk': 1 })
    expect(content?.stat).toEqual({ rxnb: '2' })
  })

  it('never throws, whatever comes over the network', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.json(), (bytes, json) => {
        parseDatagram(Buffer.from(bytes))
        readPush(Buffer.from(bytes), EUI, 0)
        readPush(Buffer.from(`{"rxpk":[${json}],"stat":${json}}`), EUI, 0)
        parseDatagram(datagram(5, json))
      }),
      { numRuns: 500 },
    )
    expect(parseDatr('SF99')).toBeUndefined()
  })

  it("places a window by the concentrator's clock, which wraps", () => {
    const text = buildPullResp(7, {
      gateway: EUI,
      devEui: '0'.repeat(16),
      phy: Buffer.from('60', 'hex'),
      when: { window: 2, rx1DelayS: 1, context: { via: 'udp', tmst: 4_294_967_295 } },
      frequencyHz: 869_525_000,
      modulation: { sf: 12, bandwidthHz: 125_000 },
      dr: 0,
      powerDbm: 27,
    }).toString('utf8', 4)
    expect(JSON.parse(text)).toMatchObject({
      txpk: { tmst: 1_999_999, freq: 869.525, datr: 'SF12BW125', ipol: true, size: 1 },
    })
  })
})

describe('de-duplication', () => {
  const heard = (gateway: string, snrDb: number, phy = '4001'): Heard => ({
    gateway,
    phy: Buffer.from(phy, 'hex'),
    rssiDbm: -90,
    snrDb,
    frequencyHz: 868_100_000,
    atMonoMs: 0,
    context: { via: 'udp', tmst: 0 },
  })

  it('hands a frame on once, with everybody who heard it, best first', async () => {
    const clock = new VirtualClock()
    const out: string[][] = []
    const dedup = new Deduplicator(
      clock,
      () => 200,
      (frames) => out.push(...frames.map((copies) => copies.map(({ gateway }) => gateway))),
    )
    dedup.add([heard('A', -3)])
    await clock.advance(100)
    dedup.add([heard('B', 7), heard('A', -3)])
    dedup.add([heard('C', 1, '4002')])
    expect(out).toEqual([])
    await clock.advance(100)
    expect(out).toEqual([['B', 'A']])
    await clock.advance(100)
    expect(out).toEqual([['B', 'A'], ['C']])
    expect(clock.pendingTimers).toBe(0)
  })
})
