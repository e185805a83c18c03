import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { VirtualClock } from '../../../api/virtual-clock.ts'
import { DecoderProcess } from './decoder-process.ts'
import { type DecoderCall, Decoders } from './decoders.ts'

const open: Decoders[] = []
const decoders = () => {
  const own = new Decoders(systemClock)
  open.push(own)
  return own
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((own) => own[Symbol.asyncDispose]()))
})

const source = (text: string, timeLimitMs = 100) => ({ source: text, timeLimitMs })
const uplink = (hex: string, port = 1): DecoderCall => ({
  kind: 'decode',
  bytes: Buffer.from(hex, 'hex'),
  port,
  atMs: Date.UTC(2026, 0, 1),
})

const TS013 = `
function decodeUplink(input) {
  return { data: { temperature: ((input.bytes[0] << 8) | input.bytes[1]) / 100, port: input.fPort, at: input.recvTime.toISOString() } };
}
function encodeDownlink(input) {
  return { bytes: [1, input.data.interval >> 8, input.data.interval & 255], fPort: 9 };
}`

describe('decoders as vendors publish them', () => {
  it('runs decodeUplink and encodeDownlink of TS013', async () => {
    const own = decoders()
    expect(await own.call(source(TS013), uplink('0929', 2))).toEqual({
      ok: true,
      data: { temperature: 23.45, port: 2, at: '2026-01-01T00:00:00.000Z' },
      warnings: [],
    })
    const encoded = await own.call(source(TS013), { kind: 'encode', data: { interval: 300 }, port: undefined })
    expect(encoded).toEqual({ ok: true, bytes: Uint8Array.of(1, 1, 44), port: 9 })
  })

  it('runs the old Decoder(bytes, port) and Decode(port, bytes)', async () => {
    const own = decoders()
    const old = source('function Decoder(bytes, port) { return { a: bytes[0], port: port } }')
    expect(await own.call(old, uplink('07', 3))).toMatchObject({ data: { a: 7, port: 3 } })
    const older = source('function Decode(fPort, bytes, variables) { return { b: bytes.length, port: fPort } }')
    expect(await own.call(older, uplink('0708', 4))).toMatchObject({ data: { b: 2, port: 4 } })
  })

  it('gives a Buffer that reads numbers, and module.exports', async () => {
    const own = decoders()
    const text = `module.exports = { decodeUplink: (input) => {
      const b = Buffer.from(input.bytes);
      return { data: { le: b.readUInt16LE(0), be: b.readInt16BE(0), hex: b.toString('hex'), f: Buffer.from('0000803f', 'hex').readFloatLE(0) } };
    } }`
    expect(await own.call(source(text), uplink('ff01'))).toMatchObject({
      data: { le: 0x01ff, be: -255, hex: 'ff01', f: 1 },
    })
  })

  it('names the line of an error and passes on what the decoder reports', async () => {
    const own = decoders()
    const thrown = source('function decodeUplink(input) {\n  var x;\n  return x.y;\n}')
    expect(await own.call(thrown, uplink('00'))).toMatchObject({
      ok: false,
      code: 'decoder-error',
      reason: expect.stringMatching(/^line 3: /),
    })
    const told = source('function decodeUplink() { return { errors: ["unknown FPort"] } }')
    expect(await own.call(told, uplink('00'))).toMatchObject({ ok: false, reason: 'unknown FPort' })
    const broken = source('function decodeUplink( {')
    expect(await own.call(broken, uplink('00'))).toMatchObject({
      ok: false,
      code: 'decoder-error',
      reason: expect.stringContaining('line 1'),
    })
    expect(await own.call(source('var a = 1'), uplink('00'))).toMatchObject({ ok: false, code: 'decoder-missing' })
  })
})

describe('decoders that mean harm', () => {
  it('stops one that loops, counts it, and lets it rest after three times, while others go on', async () => {
    const own = decoders()
    const loop = source('function decodeUplink() { for (;;); }', 50)
    for (let time = 0; time < 3; time++) {
      expect(await own.call(loop, uplink('00'))).toMatchObject({ ok: false, code: 'decoder-timeout' })
    }
    expect(await own.call(loop, uplink('00'))).toMatchObject({ ok: false, code: 'decoder-resting' })
    expect(await own.call(source(TS013), uplink('0929'))).toMatchObject({ ok: true })
    expect(own.failures).toEqual({ 'decoder-timeout': 3, 'decoder-resting': 1 })
  })

  it('survives one that takes all memory, which ends the process it runs in', async () => {
    const own = decoders()
    const greedy = source('function decodeUplink() { return { data: new Array(3e8).fill(0).length } }', 1000)
    expect(await own.call(greedy, uplink('00'))).toMatchObject({ ok: false, code: 'decoder-crash' })
    expect(await own.call(source(TS013), uplink('0929'))).toMatchObject({ ok: true })
  })

  it.each([
    ['require', 'typeof require'],
    ['process', 'typeof process'],
    ['fetch', 'typeof fetch'],
    ['timers', 'typeof setTimeout'],
    ['WebAssembly', 'typeof WebAssembly'],
    ['SharedArrayBuffer', 'typeof SharedArrayBuffer'],
  ])('has no %s', async (_, expression) => {
    const own = decoders()
    const text = source(`function decodeUplink() { return { data: { type: ${expression} } } }`)
    expect(await own.call(text, uplink('00'))).toMatchObject({ ok: true, data: { type: 'undefined' } })
  })

  it.each([
    ['eval', 'eval("1")'],
    ['Function', 'Function("return process")()'],
    ['the constructor of everything', 'this.constructor.constructor("return process")()'],
    ['the constructor of its input', 'input.bytes.constructor.constructor("return process")()'],
    ['large buffers', 'new Uint8Array(2e9).fill(1)'],
    ['large buffers by another name', 'new (new Uint8Array(1).constructor)(2e9)'],
  ])('cannot use %s', async (_, expression) => {
    const own = decoders()
    const text = source(`function decodeUplink(input) { return { data: String(${expression}) } }`)
    expect(await own.call(text, uplink('00'))).toMatchObject({ ok: false, code: 'decoder-error' })
  })

  it('keeps nothing of one decoder where another could see it', async () => {
    const own = decoders()
    await own.call(source('globalThis.secret = 1; function decodeUplink() { return { data: 1 } }'), uplink('00'))
    const other = source('function decodeUplink() { return { data: typeof secret } }')
    expect(await own.call(other, uplink('00'))).toMatchObject({ data: 'undefined' })
  })

  it('is ended when it answers nonsense in bulk, or not at all', async () => {
    const clock = new VirtualClock()
    const child = new DecoderProcess(clock)
    const huge = source('function decodeUplink() { return { data: "x".repeat(70000) } }')
    const own = decoders()
    expect(await own.call(huge, uplink('00'))).toMatchObject({ ok: false, reason: 'the result is too large' })
    await child.close()
    expect(child.alive).toBe(false)
    expect(await child.ask({ key: 'a', call: '{}', timeLimitMs: 1 })).toMatchObject({ kind: 'died' })
  })
})
