import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type UartSettings, uartReceives } from './uart.ts'

const BAUDS = [1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200]
const settings = fc.record({
  baud: fc.constantFrom(...BAUDS),
  parity: fc.constantFrom('none' as const, 'even' as const, 'odd' as const),
  stopBits: fc.constantFrom(1 as const, 2 as const),
})
const line = (baud: number, parity: UartSettings['parity'] = 'none'): UartSettings => ({ baud, parity })

describe('a UART', () => {
  it('receives what was sent with its own settings, and with crystals that differ by up to 3 %', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        settings,
        fc.double({ min: 0.97, max: 1.03, noNaN: true }),
        (bytes, own, off) => {
          expect(uartReceives(bytes, own, own)).toEqual(bytes)
          expect(uartReceives(bytes, own, { ...own, baud: own.baud * off })).toEqual(bytes)
        },
      ),
    )
  })

  it('reads a zero at a quarter of its rate as a break and drops it', () => {
    // Nine bits low are 36 of its own.
    expect(uartReceives(Uint8Array.of(0), line(9600), line(38_400))).toEqual(new Uint8Array(0))
  })

  it('makes of another rate what samples in the wrong places give, worked out by hand', () => {
    // 0x0F at 9600 is 0 1111 0000 1. At 4800 the start is over too soon to be one; the next fall is that of bit 4, half a
    // bit later it is still low, bit 0 is low, and from then on the line is idle.
    expect(uartReceives(Uint8Array.of(0x0f), line(9600), line(4800))).toEqual(Uint8Array.of(0xfe))
    // 0xF0 at 4800 is 0 0000 1111 1; twice as fast: start, then 0000 0000 and a stop bit that is low: dropped.
    expect(uartReceives(Uint8Array.of(0xf0), line(4800), line(9600))).toEqual(new Uint8Array(0))
    // 0xFF at 4800 is one low bit of double length: start, then 0 and seven ones.
    expect(uartReceives(Uint8Array.of(0xff), line(4800), line(9600))).toEqual(Uint8Array.of(0xfe))
  })

  it('drops every character of the other parity, and those without parity that happen not to fit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.constantFrom(...BAUDS), (bytes, baud) => {
        expect(uartReceives(bytes, line(baud, 'even'), line(baud, 'odd'))).toEqual(new Uint8Array(0))
      }),
    )
    // Without a parity bit its place holds the stop bit, a one: even parity takes an odd count of ones, if idle follows.
    expect(uartReceives(Uint8Array.of(0x01), line(9600), line(9600, 'even'))).toEqual(Uint8Array.of(0x01))
    expect(uartReceives(Uint8Array.of(0x03), line(9600), line(9600, 'even'))).toEqual(new Uint8Array(0))
    // With the next character right behind it, the stop bit it looks for is that one's start.
    expect(uartReceives(Uint8Array.of(0x01, 0x01), line(9600), line(9600, 'even'))).toEqual(new Uint8Array(0))
  })
})
