import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { Air } from './air.ts'
import { VirtualController } from './controller.ts'
import { addressBytes, H4Splitter } from './h4.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const A = 'C0:00:00:00:00:01'
const B = 'C0:00:00:00:00:02'

function setUp() {
  const clock = new VirtualClock()
  const air = new Air(clock, () => 0.5)
  const neighbours = new Map<string, VirtualController>()
  const make = (mac: string) => {
    const said: string[] = []
    const controller = new VirtualController(air, neighbours, { mac }, (bytes) => said.push(hex(bytes)))
    const tell = (text: string) => controller.push(Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex')))
    return { controller, said, tell }
  }
  return { clock, air, a: make(A), b: make(B) }
}

const address = (mac: string) => hex(Uint8Array.from(addressBytes(mac)))

/** A scans for B, connects at once (interval 30 ms, supervision time-out 420 ms). */
async function connected() {
  const bench = setUp()
  const { a, b, clock } = bench
  b.tell('01 06 20 0f 2000 2000 00 00 00 000000000000 07 00')
  b.tell('01 0a 20 01 01')
  a.tell(`01 0d 20 19 6000 3000 00 00 ${address(B)} 00 1800 1800 0000 2a00 0400 0600`)
  await clock.advance(100)
  return bench
}

describe('a virtual controller', () => {
  it('answers reset with the very bytes that UART drivers wait for', () => {
    const { a } = setUp()
    a.tell('01 03 0c 00')
    expect(a.said).toEqual(['040e0401030c00'])
  })

  it('says unknown command to what it does not know', () => {
    const { a } = setUp()
    a.tell('01 41 20 00')
    expect(a.said).toEqual(['040e0401412001'])
  })

  it('reports advertisements with the signal strength of the path, and none out of range', async () => {
    const { a, air, clock } = setUp()
    air.path(A, 'D0:00:00:00:00:09', { rssiDbm: -77 })
    a.tell('01 0c 20 02 01 00')
    air.beacon({ mac: 'D0:00:00:00:00:09', intervalMs: 100, data: () => Uint8Array.of(2, 1, 6) })
    await clock.advance(120)
    expect(a.said.at(-1)).toBe('043e0f0201030009000000 00d003020106b3'.replace(' ', ''))
    const before = a.said.length
    air.path(A, 'D0:00:00:00:00:09', { rssiDbm: -110 })
    await clock.advance(1000)
    expect(a.said.length).toBe(before)
  })

  it('connects two hosts and passes packets with the handle and flag of the receiver', async () => {
    const { a, b, clock } = await connected()
    expect(a.said.some((packet) => packet.startsWith('043e130100'))).toBe(true)
    expect(b.said.some((packet) => packet.startsWith('043e130100'))).toBe(true)
    a.tell('02 4000 0700 0300 0400 0a0300')
    await clock.advance(0)
    expect(b.said.at(-1)).toBe('024020070003000400' + '0a0300')
    expect(a.said.at(-1)).toBe('0413050140000100')
  })

  it('keeps the order of packets on a path that loses some', async () => {
    const { a, b, air, clock } = await connected()
    air.path(A, B, { loss: 0.4, latencyMs: 5 })
    const before = b.said.length
    for (let i = 0; i < 50; i++) a.tell(`02 4000 0500 0100 0400 ${i.toString(16).padStart(2, '0')}`)
    await clock.advance(60_000)
    const numbers = b.said.slice(before).map((packet) => Number.parseInt(packet.slice(-2), 16))
    expect(numbers).toEqual(Array.from({ length: 50 }, (_, i) => i))
  })

  it('ends a link by its supervision time-out when the far side dies or goes out of range', async () => {
    for (const end of ['dies', 'leaves'] as const) {
      const { a, b, air, clock } = await connected()
      if (end === 'dies') b.controller.die()
      else air.path(A, B, { rssiDbm: -120 })
      await clock.advance(400)
      expect(a.controller.links).toBe(1)
      await clock.advance(100)
      expect(a.said.at(-1)).toBe('04050400400008')
      expect(a.controller.links).toBe(0)
    }
  })

  it('says what a peer said when it hung up, and reads the signal strength', async () => {
    const { a, b, air } = await connected()
    air.path(A, B, { rssiDbm: -57 })
    a.tell('01 05 14 02 4000')
    expect(a.said.at(-1)).toBe('040e07010514004000c7')
    b.tell('01 06 04 03 4000 13')
    expect(a.said.at(-1)).toBe('04050400400013')
  })

  it('cancels a connection that nobody took', async () => {
    const { a, clock } = setUp()
    a.tell(`01 0d 20 19 6000 3000 00 00 ${address(B)} 00 1800 1800 0000 2a00 0400 0600`)
    await clock.advance(5000)
    a.tell('01 0e 20 00')
    expect(a.said.at(-2)).toBe('040e04010e2000')
    expect(a.said.at(-1)?.startsWith('043e130102')).toBe(true)
  })

  it('never throws, whatever a host sends', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (chunks) => {
        const { a } = setUp()
        for (const chunk of chunks) a.controller.push(chunk)
      }),
    )
  })
})

describe('H4', () => {
  it('gives the same packets however the stream is cut', () => {
    const packet = fc.oneof(
      fc.uint8Array({ maxLength: 30 }).map((data) => Uint8Array.of(4, 0x3e, data.length, ...data)),
      fc.uint8Array({ maxLength: 30 }).map((data) => Uint8Array.of(2, 0x40, 0x20, data.length, 0, ...data)),
    )
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 10 }), fc.array(fc.nat(20)), (packets, cuts) => {
        const stream = Buffer.concat(packets)
        const splitter = new H4Splitter()
        const found: string[] = []
        let at = 0
        for (const size of [...cuts, stream.length]) {
          for (const { type, body } of splitter.push(stream.subarray(at, at + size)))
            found.push(hex(Uint8Array.of(type, ...body)))
          at += size
        }
        expect(found).toEqual(packets.map(hex))
      }),
    )
  })
})
