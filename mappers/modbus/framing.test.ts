import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answerPdu, rtuFrame } from '../../hil/modbus-unit.ts'
import { lrc8 } from './checksum.ts'
import type { ModbusRequest } from './codec.ts'
import { asciiFraming, type LineFraming, rtuFraming } from './line-framing.ts'
import { MbapReader } from './mbap.ts'

const request: ModbusRequest = { fc: 3, address: 100, count: 3 }
const pdu = answerPdu(9, Uint8Array.of(3, 0, 100, 0, 3))

function asciiFrame(unit: number, body: Uint8Array): Uint8Array {
  const bytes = Uint8Array.of(unit, ...body)
  const all = Buffer.concat([bytes, Uint8Array.of(lrc8(bytes, 0, bytes.length))])
  return Buffer.from(`:${all.toString('hex').toUpperCase()}\r\n`)
}

const framings: [string, LineFraming, (unit: number, body: Uint8Array) => Uint8Array][] = [
  ['RTU', rtuFraming, rtuFrame],
  ['ASCII', asciiFraming, asciiFrame],
]

describe.each(framings)('%s frames', (_name, framing, frame) => {
  it('are found between any garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 40 }), (before, after) => {
        const bytes = Uint8Array.of(...before, ...frame(9, pdu), ...after)
        const scan = framing.scan(bytes, bytes.length, 9, request)
        expect(scan.kind).toBe('answer')
        if (scan.kind === 'answer') expect(scan.decoded).toEqual({ fc: 3, registers: Buffer.from(pdu.subarray(2)) })
      }),
    )
  })

  it('are not seen in arbitrary bytes, which never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom<3 | 43>(3, 43), (bytes, code) => {
        const wanted: ModbusRequest = code === 3 ? request : { fc: 43, category: 1, objectId: 0 }
        const scan = framing.scan(Uint8Array.of(9, code, ...bytes), bytes.length + 2, 9, wanted)
        expect(scan.kind).not.toBe('answer')
        framing.isFrame(bytes, bytes.length)
      }),
    )
  })

  it('are refused when any single bit is turned', () => {
    const good = frame(9, pdu)
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Uint8Array.from(good)
      bad[bit >> 3]! ^= 1 << (bit & 7)
      const scan = framing.scan(bad, bad.length, 9, request)
      // Hexadecimal digits in the other case are the same digits.
      if (scan.kind === 'answer') expect(framing.name).toBe('ascii')
      if (scan.kind === 'answer') expect(scan.decoded).toEqual({ fc: 3, registers: Buffer.from(pdu.subarray(2)) })
    }
  })

  it('of another unit, function or length are no answer', () => {
    const none = (unit: number, body: Uint8Array) => {
      const bytes = frame(unit, body)
      expect(framing.scan(bytes, bytes.length, 9, request).kind).not.toBe('answer')
      expect(framing.isFrame(bytes, bytes.length)).toBe(true)
    }
    none(8, pdu)
    none(9, answerPdu(9, Uint8Array.of(4, 0, 100, 0, 3)))
    none(9, answerPdu(9, Uint8Array.of(3, 0, 100, 0, 2)))
    none(9, answerPdu(9, Uint8Array.of(3, 0, 100, 0, 4)))
  })

  it('bring exceptions', () => {
    const bytes = frame(9, Uint8Array.of(0x83, 2))
    expect(framing.scan(bytes, bytes.length, 9, request)).toMatchObject({
      kind: 'answer',
      decoded: { fc: 0, exception: 2 },
    })
  })
})

describe('the MBAP reader', () => {
  const frameOf = (id: number, body: Uint8Array) =>
    Uint8Array.of(id >> 8, id & 255, 0, 0, (body.length + 1) >> 8, (body.length + 1) & 255, 9, ...body)

  it('gives the same frames however the stream is chunked', () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 2, maxLength: 253 }), { maxLength: 8 })
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (frames, cuts) => {
        const stream = Buffer.concat(frames.map((body, id) => frameOf(id, body)))
        const seen: Uint8Array[] = []
        const reader = new MbapReader((bytes, id, start, end) => {
          expect(id).toBe(seen.length)
          seen.push(bytes.slice(start + 1, end))
        })
        for (let at = 0, i = 0; at < stream.length; i++) {
          const next = at + cuts[i % cuts.length]!
          expect(reader.push(stream.subarray(at, next))).toBeUndefined()
          at = next
        }
        expect(seen.map((body) => [...body])).toEqual(frames.map((body) => [...body]))
      }),
    )
  })

  it('never throws and keeps no more than one frame, whatever comes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (chunks) => {
        const reader = new MbapReader((_bytes, _id, start, end) => expect(end - start).toBeLessThanOrEqual(254))
        for (const chunk of chunks) if (reader.push(chunk) !== undefined) break
      }),
    )
  })

  it('says what is wrong with a stream that is no Modbus TCP', () => {
    const reader = new MbapReader(() => undefined)
    expect(reader.push(Buffer.from('HTTP/1.1 400 Bad'))).toMatch(/protocol id/)
    reader.reset()
    expect(reader.push(Uint8Array.of(0, 1, 0, 0, 255, 0))).toMatch(/length/)
  })
})
