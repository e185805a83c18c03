import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answerPdu, coilValue, registerValue } from '../../hil/modbus-unit.ts'
import { crc16, lrc8 } from './checksum.ts'
import {
  bitAt,
  checkRequest,
  couldAnswer,
  decodeResponse,
  encodeRequest,
  type ModbusRequest,
  maxPduLength,
  requestLength,
  responseLength,
} from './codec.ts'

const address = fc.integer({ min: 0, max: 60_000 })
const word = fc.integer({ min: 0, max: 0xffff })

/** Every request the specification allows, but for device identification. */
const anyRequest: fc.Arbitrary<ModbusRequest> = fc.oneof(
  fc.record({ fc: fc.constantFrom<1 | 2>(1, 2), address, count: fc.integer({ min: 1, max: 2000 }) }),
  fc.record({ fc: fc.constantFrom<3 | 4>(3, 4), address, count: fc.integer({ min: 1, max: 125 }) }),
  fc.record({ fc: fc.constant<5>(5), address, value: fc.boolean() }),
  fc.record({ fc: fc.constant<6>(6), address, value: word }),
  fc.record({ fc: fc.constant<15>(15), address, values: fc.array(fc.boolean(), { minLength: 1, maxLength: 1968 }) }),
  fc.record({ fc: fc.constant<16>(16), address, values: fc.array(word, { minLength: 1, maxLength: 123 }) }),
  fc.record({ fc: fc.constant<22>(22), address, and: word, or: word }),
  fc.record({
    fc: fc.constant<23>(23),
    readAddress: address,
    readCount: fc.integer({ min: 1, max: 125 }),
    writeAddress: address,
    values: fc.array(word, { minLength: 1, maxLength: 121 }),
  }),
)

function encoded(request: ModbusRequest): Uint8Array {
  const pdu = new Uint8Array(requestLength(request))
  expect(encodeRequest(request, pdu, 0)).toBe(pdu.length)
  return pdu
}

describe('the codec', () => {
  it('encodes the examples of the specification', () => {
    const hex = (request: ModbusRequest) => Buffer.from(encoded(request)).toString('hex')
    expect(hex({ fc: 1, address: 0x13, count: 0x13 })).toBe('0100130013')
    expect(hex({ fc: 3, address: 0x6b, count: 3 })).toBe('03006b0003')
    expect(hex({ fc: 5, address: 0xac, value: true })).toBe('0500acff00')
    expect(hex({ fc: 6, address: 1, value: 3 })).toBe('0600010003')
    const coils = [true, false, true, true, false, false, true, true, true, false]
    expect(hex({ fc: 15, address: 0x13, values: coils })).toBe('0f0013000a02cd01')
    expect(hex({ fc: 16, address: 1, values: [0x0a, 0x0102] })).toBe('100001000204000a0102')
    expect(hex({ fc: 22, address: 4, and: 0xf2, or: 0x25 })).toBe('16000400f20025')
    expect(hex({ fc: 23, readAddress: 3, readCount: 6, writeAddress: 14, values: [255, 255, 255] })).toBe(
      '1700030006000e00030600ff00ff00ff',
    )
    expect(hex({ fc: 43, category: 1, objectId: 0 })).toBe('2b0e0100')
  })

  it('reads back what an independent unit answers to any request', () => {
    fc.assert(
      fc.property(anyRequest, (request) => {
        checkRequest(request)
        const answer = answerPdu(7, encoded(request))
        expect(answer.length).toBe(responseLength(request, answer, 0, answer.length))
        expect(answer.length).toBeLessThanOrEqual(maxPduLength)
        const response = decodeResponse(request, answer, 0, answer.length)
        expect(response.fc).toBe(request.fc)
        if ((response.fc === 1 || response.fc === 2) && (request.fc === 1 || request.fc === 2)) {
          for (let i = 0; i < request.count; i++) expect(bitAt(response, i)).toBe(coilValue(7, request.address + i))
        }
        if ((response.fc === 3 || response.fc === 4) && (request.fc === 3 || request.fc === 4)) {
          const registers = Buffer.from(response.registers)
          for (let i = 0; i < request.count; i++) {
            expect(registers.readUInt16BE(2 * i)).toBe(registerValue(7, request.address + i))
          }
        }
        for (let end = 0; end <= answer.length; end++) expect(couldAnswer(request, answer, 0, end)).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('takes any bytes without throwing, and for an answer only what fits the request', () => {
    fc.assert(
      fc.property(anyRequest, fc.uint8Array({ maxLength: 300 }), (request, bytes) => {
        const response = decodeResponse(request, bytes, 0, bytes.length)
        if (response.fc > 0) {
          expect(couldAnswer(request, bytes, 0, bytes.length)).toBe(true)
          expect(bytes.length).toBe(responseLength(request, bytes, 0, bytes.length))
        }
        const identify: ModbusRequest = { fc: 43, category: 1, objectId: 0 }
        decodeResponse(identify, Uint8Array.of(43, 14, ...bytes), 0, bytes.length + 2)
      }),
    )
  })

  it('takes device identification apart, however it is cut', () => {
    const pdu = Uint8Array.of(43, 14, 1, 0x81, 0xff, 2, 2, 0, 3, 65, 66, 67, 1, 2, 68, 69)
    const request: ModbusRequest = { fc: 43, category: 1, objectId: 0 }
    expect(responseLength(request, pdu, 0, pdu.length)).toBe(pdu.length)
    for (let end = 0; end < pdu.length; end++) expect(responseLength(request, pdu, 0, end)).toBeGreaterThan(end)
    expect(decodeResponse(request, pdu, 0, pdu.length)).toEqual({
      fc: 43,
      category: 1,
      conformity: 0x81,
      moreFollows: true,
      nextObjectId: 2,
      objects: [
        { id: 0, value: Buffer.from('ABC') },
        { id: 1, value: Buffer.from('DE') },
      ],
    })
  })

  it.each<[string, ModbusRequest]>([
    ['2001 coils', { fc: 1, address: 0, count: 2001 }],
    ['126 registers', { fc: 3, address: 0, count: 126 }],
    ['no registers', { fc: 4, address: 0, count: 0 }],
    ['half a register', { fc: 4, address: 0, count: 1.5 }],
    ['an address past the end', { fc: 3, address: 65_535, count: 2 }],
    ['a negative address', { fc: 3, address: -1, count: 1 }],
    ['a value of 17 bits', { fc: 6, address: 0, value: 65_536 }],
    ['a value that is no number', { fc: 6, address: 0, value: Number.NaN }],
    ['1969 coils to write', { fc: 15, address: 0, values: new Array<boolean>(1969).fill(true) }],
    ['124 registers to write', { fc: 16, address: 0, values: new Uint16Array(124) }],
    ['a negative register', { fc: 16, address: 0, values: [-1] }],
    [
      '122 registers to write and read',
      { fc: 23, readAddress: 0, readCount: 1, writeAddress: 0, values: new Uint16Array(122) },
    ],
    ['object 256', { fc: 43, category: 4, objectId: 256 }],
  ])('refuses %s before the wire', (_name, request) => {
    expect(() => checkRequest(request)).toThrowError(expect.objectContaining({ code: 'SLUICE_MODBUS_BOUNDS' }))
  })

  it('refuses an echo of a write with another address or value', () => {
    const request: ModbusRequest = { fc: 6, address: 10, value: 500 }
    expect(decodeResponse(request, Uint8Array.of(6, 0, 10, 1, 244), 0, 5)).toEqual(request)
    expect(decodeResponse(request, Uint8Array.of(6, 0, 11, 1, 244), 0, 5).fc).toBe(-1)
    expect(decodeResponse(request, Uint8Array.of(6, 0, 10, 1, 245), 0, 5).fc).toBe(-1)
  })

  it('checks sums as the specification does', () => {
    expect(crc16(Uint8Array.of(0x02, 0x07), 0, 2)).toBe(0x1241)
    expect(lrc8(Uint8Array.of(0x11, 0x03, 0x00, 0x6b, 0x00, 0x03), 0, 6)).toBe(0x7e)
  })
})
