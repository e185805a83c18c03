import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { ProtobufError } from '../../sdk/protobuf.ts'
import {
  type DataType,
  decodePayload,
  encodePayload,
  type Metric,
  parseTopic,
  topicOf,
} from '../../sdk/sparkplug-payload.ts'
import { SparkplugNode } from './node.ts'

const named = <T>(type: DataType, value: fc.Arbitrary<T>) => value.map((one) => ({ type, value: one }))
const finite = { noNaN: true, noDefaultInfinity: true }
const typed = fc.oneof(
  named('Int8', fc.integer({ min: -128, max: 127 })),
  named('Int32', fc.integer()),
  named('Int64', fc.maxSafeInteger()),
  named('UInt32', fc.integer({ min: 0, max: 2 ** 32 - 1 })),
  named('UInt64', fc.maxSafeNat()),
  named('Float', fc.float(finite)),
  named('Double', fc.double(finite)),
  named('Boolean', fc.boolean()),
  named('String', fc.string()),
  named(
    'Bytes',
    fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('base64')),
  ),
)
const metric = fc
  .tuple(fc.string(), fc.option(fc.nat(), { nil: undefined }), typed)
  .map(([name, alias, one]): Metric => ({ name, ...(alias === undefined ? {} : { alias }), ...one }))

describe('a Sparkplug payload', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(metric), fc.nat(255), fc.nat(), (metrics, seq, timestampMs) => {
        expect(decodePayload(encodePayload({ timestampMs, seq, metrics }))).toEqual({ timestampMs, seq, metrics })
      }),
    )
  })

  it('of anything is refused or read, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          decodePayload(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(ProtobufError)
        }
      }),
    )
  })

  it('has topics of its own', () => {
    expect(parseTopic('spBv1.0/g/DDATA/n/d')).toEqual({ group: 'g', kind: 'DDATA', node: 'n', device: 'd' })
    for (const wrong of ['spBv1.0/g/DDATA/n', 'spBv1.0/g/NDATA/n/d', 'spBv1.0/STATE/h', 'a/b']) {
      expect(parseTopic(wrong)).toBeUndefined()
    }
  })
})

function follow() {
  const clock = new VirtualClock()
  const said: string[] = []
  let rebirths = 0
  const node = new SparkplugNode({ clock, requestRebirth: () => void rebirths++ })
  node.add({
    device: 'd',
    metrics: (metrics, _at, birth) => {
      said.push(`${birth ? 'birth' : 'data'} ${metrics.map(({ name, value }) => `${name}=${String(value)}`).join(' ')}`)
    },
    death: (reason) => said.push(`death ${reason}`),
    wrong: () => said.push('wrong'),
  })
  const send = (kind: Parameters<typeof topicOf>[1], device: string | undefined, seq: number, ...metrics: Metric[]) =>
    node.message(topicOf('g', kind, 'n', device), encodePayload({ seq, metrics }))
  const birth = (bdSeq = 1) => {
    send('NBIRTH', undefined, 0, { name: 'bdSeq', type: 'Int64', value: bdSeq })
    send('DBIRTH', 'd', 1, { name: 'speed', alias: 7, type: 'Int32', value: 1 })
  }
  return { clock, node, said, send, birth, rebirths: () => rebirths }
}

describe('a Sparkplug edge node', () => {
  it('is known by its births: aliases get their names, a death ends them', () => {
    const { said, send, birth } = follow()
    birth()
    send('DDATA', 'd', 2, { alias: 7, type: 'Int32', value: 5 })
    send('DDEATH', 'd', 3)
    expect(said).toEqual([
      'death not born yet (no DBIRTH)',
      'birth speed=1',
      'data speed=5',
      'death the device has gone (DDEATH)',
    ])
  })

  it('is asked to be born again when a message was lost or an alias is not known, but not all the time', async () => {
    const { clock, node, send, birth, rebirths } = follow()
    expect(rebirths()).toBe(1)
    await clock.advance(10_000)
    birth()
    await clock.advance(10_000)
    send('DDATA', 'd', 9, { alias: 7, type: 'Int32', value: 5 })
    expect([rebirths(), node.gaps]).toEqual([2, 1])
    for (let seq = 10; seq < 200; seq++) send('DDATA', 'd', seq, { alias: 99, type: 'Int32', value: 5 })
    expect(rebirths()).toBe(2)
    await clock.advance(10_000)
    send('DDATA', 'd', 200, { alias: 99, type: 'Int32', value: 5 })
    expect(rebirths()).toBe(3)
  })

  it('is asked again, if later, for a device that somebody added just after the birth', async () => {
    const { clock, node, birth, rebirths } = follow()
    birth()
    node.add({ device: 'e', metrics: () => {}, death: () => {}, wrong: () => {} })
    expect(rebirths()).toBe(1)
    await clock.advance(5000)
    expect(rebirths()).toBe(2)
    birth()
    await clock.advance(60_000)
    expect(rebirths()).toBe(2)
  })

  it('does not die of the will of a session before this one', () => {
    const { node, send, birth } = follow()
    birth(4)
    send('NDEATH', undefined, 0, { name: 'bdSeq', type: 'Int64', value: 3 })
    expect(node.born).toBe(true)
    send('NDEATH', undefined, 0, { name: 'bdSeq', type: 'Int64', value: 4 })
    expect(node.born).toBe(false)
  })
})
