import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Heard } from '../transport.ts'
import { HciSieve } from './hci-sieve.ts'

const report = (payload: Uint8Array) =>
  Uint8Array.of(4, 0x3e, 12 + payload.length, 2, 1, 3, 0, 6, 5, 4, 3, 2, 1, payload.length, ...payload, 0xc0)
const event = (code: number, payload: Uint8Array) => Uint8Array.of(4, code, payload.length, ...payload)
const acl = (payload: Uint8Array) =>
  Uint8Array.of(2, 0x40, 0x20, payload.length & 0xff, payload.length >> 8, ...payload)

/** Feeds `bytes` in pieces, as a port does, and gives back what was let through. */
function through(bytes: Uint8Array, cuts: readonly number[], hear: (heard: Heard) => void): Uint8Array {
  const sieve = new HciSieve(hear)
  const out: Uint8Array[] = []
  const scratch = new Uint8Array(4096)
  let at = 0
  for (const cut of [...cuts, bytes.length]) {
    const piece = bytes.subarray(at, at + cut)
    at += piece.length
    const held = sieve.restore(scratch, 0)
    scratch.set(piece, held)
    out.push(scratch.slice(0, sieve.sift(scratch, 0, held + piece.length)))
  }
  return Buffer.concat(out)
}

const packet = fc.oneof(
  fc.uint8Array({ maxLength: 31 }).map((payload) => ({ bytes: report(payload), heard: payload })),
  fc
    .tuple(fc.constantFrom(0x0e, 0x0f, 0x13, 0x05), fc.uint8Array({ maxLength: 255 }))
    .map(([code, payload]) => ({ bytes: event(code, payload), heard: undefined })),
  fc.uint8Array({ maxLength: 600 }).map((payload) => ({ bytes: acl(payload), heard: undefined })),
)

describe('the sieve before a host stack', () => {
  it('takes every advertisement and lets every other byte through in order, wherever the stream is cut', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 200 })
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 20 }), cuts, (packets, some) => {
        const heard: string[] = []
        const bytes = Buffer.concat(packets.map((one) => one.bytes))
        // The last piece takes the rest; no piece may be larger than a system's buffer.
        const pieces = [...some, ...Array.from({ length: 60 }, () => 300)]
        const rest = through(bytes, pieces, ({ data }) => heard.push(Buffer.from(data).toString('hex')))
        const others = Buffer.concat(packets.filter((one) => one.heard === undefined).map((one) => one.bytes))
        expect(Buffer.compare(rest, others)).toBe(0)
        expect(heard).toEqual(
          packets.flatMap((one) => (one.heard === undefined ? [] : [Buffer.from(one.heard).toString('hex')])),
        )
      }),
    )
  })

  it('never throws and never keeps more than one event back, whatever comes', () => {
    const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 50 })
    fc.assert(
      fc.property(pieces, (chunks) => {
        const sieve = new HciSieve(() => undefined)
        const scratch = new Uint8Array(1024)
        for (const chunk of chunks) {
          const held = sieve.restore(scratch, 0)
          expect(held).toBeLessThanOrEqual(258)
          scratch.set(chunk, held)
          expect(sieve.sift(scratch, 0, held + chunk.length)).toBeLessThanOrEqual(held + chunk.length)
        }
      }),
    )
  })

  it('takes up a packet of which another reader had the beginning', () => {
    const heard: Heard[] = []
    const sieve = new HciSieve((one) => heard.push({ ...one, data: Uint8Array.from(one.data) }))
    const bytes = report(Uint8Array.of(2, 1, 6))
    sieve.prepend(bytes.subarray(0, 5))
    const scratch = new Uint8Array(64)
    const held = sieve.restore(scratch, 0)
    scratch.set(bytes.subarray(5), held)
    expect(sieve.sift(scratch, 0, held + bytes.length - 5)).toBe(0)
    expect(heard).toMatchObject([{ mac: '01:02:03:04:05:06', rssiDbm: -64, data: Uint8Array.of(2, 1, 6) }])
  })
})
