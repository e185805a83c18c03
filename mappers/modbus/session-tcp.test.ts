import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { answerPdu, registerValue } from '../../hil/modbus-unit.ts'
import type { ModbusReply, TcpSessionOptions } from './session.ts'
import { TcpSession } from './session-tcp.ts'
import type { ByteTransport } from './transport.ts'

const code = (expected: string) => expect.objectContaining({ code: expected })

interface Asked {
  readonly id: number
  readonly unit: number
  readonly pdu: Uint8Array
  /** Sends the right answer, or one with other header fields. */
  answer(change?: { id?: number; unit?: number; pdu?: Uint8Array }): void
}

/** A session in virtual time whose far side the test plays itself. */
function open(options: Partial<TcpSessionOptions> = {}) {
  const clock = new VirtualClock()
  const asked: Asked[] = []
  const writes: number[] = []
  const sockets: { data(bytes: Uint8Array): void; close(): void; closed: boolean }[] = []
  let refuse = false
  const openTransport = async (): Promise<ByteTransport> => {
    if (refuse) throw new Error('refused')
    let onData: (bytes: Uint8Array) => void = () => undefined
    let onClose: (reason: undefined) => void = () => undefined
    const socket = { data: (bytes: Uint8Array) => onData(bytes), close: () => onClose(undefined), closed: false }
    sockets.push(socket)
    return {
      write: (bytes) => {
        writes.push(bytes.length)
        for (let at = 0; at < bytes.length; ) {
          const length = (bytes[at + 4]! << 8) | bytes[at + 5]!
          const [id, unit] = [(bytes[at]! << 8) | bytes[at + 1]!, bytes[at + 6]!]
          const pdu = bytes.slice(at + 7, at + 6 + length)
          const answer: Asked['answer'] = (change = {}) => {
            const body = change.pdu ?? answerPdu(unit, pdu)
            const wireId = change.id ?? id
            const header = [wireId >> 8, wireId & 255, 0, 0, (body.length + 1) >> 8, (body.length + 1) & 255]
            socket.data(Uint8Array.of(...header, change.unit ?? unit, ...body))
          }
          asked.push({ id, unit, pdu, answer })
          at += 6 + length
        }
      },
      onData: (listener) => void (onData = listener),
      onClose: (listener) => void (onClose = listener),
      close: () => void (socket.closed = true),
    }
  }
  const full: TcpSessionOptions = { host: 'plc', port: 502, framing: 'tcp', initialWindow: 8, ...options }
  const session = new TcpSession(full, openTransport, { clock, random: () => 0.5 })
  const read = (address: number, timeoutMs = 100) => session.request(5, { fc: 3, address, count: 1 }, { timeoutMs })
  return {
    clock,
    session,
    asked,
    writes,
    sockets,
    read,
    refuse: (yes: boolean) => void (refuse = yes),
    settle: () => clock.advance(0),
  }
}

const value = ({ response }: ModbusReply) => (response.fc === 3 ? Buffer.from(response.registers).readUInt16BE(0) : -1)

describe('a Modbus TCP session', () => {
  it('matches answers by transaction id, in whatever order they come', async () => {
    const far = open()
    const asked = [10, 20, 30].map((address) => far.read(address))
    await far.settle()
    for (const one of far.asked.toReversed()) one.answer()
    expect((await Promise.all(asked)).map(value)).toEqual([10, 20, 30].map((address) => registerValue(5, address)))
  })

  it('writes what is asked in one turn at once', async () => {
    const far = open()
    await Promise.all([far.read(1), far.settle().then(() => far.asked[0]!.answer())])
    const asked = [1, 2, 3, 4].map((address) => far.read(address))
    await far.settle()
    for (const one of far.asked.slice(1)) one.answer()
    await Promise.all(asked)
    expect(far.writes).toEqual([12, 48])
  })

  it('drops a late answer and does not use its id again before', async () => {
    const far = open()
    const late = far.read(1)
    const outcome = expect(late).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
    await far.clock.advance(101)
    await outcome
    const next = far.read(2)
    await far.settle()
    far.asked[0]!.answer()
    far.asked[1]!.answer()
    expect(value(await next)).toBe(registerValue(5, 2))
    expect(far.session.stats.lateFramesDropped).toBe(1)
  })

  it('never reuses the id of an unanswered request, even after the ids went round', async () => {
    const far = open({ maxWindow: 64, initialWindow: 64, reconnectAfterTimeouts: 1000 })
    const outcome = expect(far.read(1)).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
    await far.clock.advance(101)
    await outcome
    const lost = far.asked[0]!.id
    let sent = 0
    while (sent < 65_600) {
      const asked = Array.from({ length: 32 }, (_, i) => far.read(i))
      await new Promise((resolve) => setImmediate(resolve))
      for (const one of far.asked.splice(1)) {
        sent++
        if (one.id === lost) throw new Error('an id was used twice')
        one.answer()
      }
      await Promise.all(asked)
    }
    far.asked[0]!.answer()
    expect(far.session.stats.lateFramesDropped).toBe(1)
  })

  it('refuses an answer of another unit, unless told that the gateway does that', async () => {
    const strict = open()
    const refused = expect(strict.read(1)).rejects.toEqual(code('SLUICE_MODBUS_BAD_RESPONSE'))
    await strict.settle()
    strict.asked[0]!.answer({ unit: 255 })
    await refused
    const lenient = open({ anyUnit: true })
    const taken = lenient.read(1)
    await lenient.settle()
    lenient.asked[0]!.answer({ unit: 255, pdu: Uint8Array.of(3, 2, 0, 42) })
    expect(value(await taken)).toBe(42)
  })

  it('refuses an answer of another function or length', async () => {
    const far = open()
    const outcomes = [1, 2].map((address) =>
      expect(far.read(address)).rejects.toEqual(code('SLUICE_MODBUS_BAD_RESPONSE')),
    )
    await far.settle()
    far.asked[0]!.answer({ pdu: Uint8Array.of(4, 2, 0, 42) })
    far.asked[1]!.answer({ pdu: Uint8Array.of(3, 4, 0, 42, 0, 43) })
    await Promise.all(outcomes)
  })

  it('connects anew when the stream is no Modbus any more, and works on', async () => {
    const far = open()
    const lost = expect(far.read(1)).rejects.toEqual(code('SLUICE_MODBUS_LINK_DOWN'))
    await far.settle()
    far.sockets[0]!.data(Buffer.from('??????'))
    await lost
    expect(far.session.state.reason).toEqual(code('SLUICE_MODBUS_BAD_RESPONSE'))
    await expect(far.read(1)).rejects.toEqual(code('SLUICE_MODBUS_LINK_DOWN'))
    await far.clock.advance(1000)
    expect(far.sockets.map((socket) => socket.closed)).toEqual([true, false])
    const next = far.read(3)
    await far.settle()
    far.asked[1]!.answer()
    expect(value(await next)).toBe(registerValue(5, 3))
  })

  it('takes a peer that leaves three requests in a row unanswered for gone and connects anew', async () => {
    const far = open({ initialWindow: 1 })
    for (let i = 0; i < 3; i++) {
      const outcome = expect(far.read(i)).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
      await far.clock.advance(101)
      await outcome
    }
    await far.clock.advance(1000)
    expect(far.sockets.length).toBe(2)
  })

  it('counts requests that were under way together as one time-out', async () => {
    const far = open()
    const outcomes = [1, 2, 3, 4].map((i) => expect(far.read(i)).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT')))
    await far.clock.advance(101)
    await Promise.all(outcomes)
    expect(far.session.state.phase).toBe('up')
  })

  it('backs off between tries, longer each time and up to a bound', async () => {
    const far = open({ reconnectMinMs: 100, reconnectMaxMs: 1000 })
    far.refuse(true)
    const waits: number[] = []
    far.session.onState(({ phase, retryAtMs }) => {
      if (phase === 'down') waits.push((retryAtMs ?? 0) - far.clock.monotonic())
    })
    await expect(Promise.all([far.read(1), far.clock.advance(5000)])).rejects.toEqual(code('SLUICE_MODBUS_LINK_DOWN'))
    await far.clock.advance(5000)
    expect(waits.slice(0, 6)).toEqual([75, 150, 300, 600, 750, 750])
    far.refuse(false)
    await far.clock.advance(1000)
    expect(far.session.state.phase).toBe('up')
  })

  it('works with a gateway that answers transaction id 0, one request at a time, and never mixes them up', async () => {
    const far = open({ transactionIdZero: true })
    const asked = [far.read(1), far.read(2)]
    await far.settle()
    expect(far.asked.length).toBe(1)
    far.asked[0]!.answer({ id: 0 })
    expect(value(await asked[0]!)).toBe(registerValue(5, 1))
    const outcome = expect(asked[1]).rejects.toEqual(code('SLUICE_MODBUS_TIMEOUT'))
    await far.clock.advance(101)
    await outcome
    // The late answer can only come on the connection that was given up.
    expect(far.sockets[0]!.closed).toBe(true)
  })

  it('pauses after connecting and between requests where a device wants it', async () => {
    const far = open({ pauseAfterConnectMs: 500, pauseBetweenRequestsMs: 50 })
    const asked = [far.read(1, 1000), far.read(2, 1000)]
    await far.clock.advance(499)
    expect(far.asked.length).toBe(0)
    await far.clock.advance(1)
    expect(far.asked.length).toBe(1)
    far.asked[0]!.answer()
    await far.clock.advance(49)
    expect(far.asked.length).toBe(1)
    await far.clock.advance(1)
    far.asked[1]!.answer()
    expect((await Promise.all(asked)).length).toBe(2)
  })

  it('gives up an aborted request at once and drops its answer', async () => {
    const far = open()
    const controller = new AbortController()
    const aborted = far.session.request(
      5,
      { fc: 3, address: 1, count: 1 },
      { timeoutMs: 100, signal: controller.signal },
    )
    const kept = far.read(2)
    await far.settle()
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    far.asked[0]!.answer()
    far.asked[1]!.answer()
    expect(value(await kept)).toBe(registerValue(5, 2))
  })

  it('has one timer however many requests are under way', async () => {
    const far = open()
    const asked = Array.from({ length: 8 }, (_, i) => far.read(i))
    await far.settle()
    expect(far.clock.pendingTimers).toBe(1)
    for (const one of [...far.asked]) one.answer()
    await Promise.all(asked)
  })

  it('ends everything when it is disposed', async () => {
    const far = open()
    const outcome = expect(far.read(1)).rejects.toEqual(code('SLUICE_MODBUS_CLOSED'))
    await far.settle()
    await far.session[Symbol.asyncDispose]()
    await outcome
    await expect(far.read(1)).rejects.toEqual(code('SLUICE_MODBUS_CLOSED'))
    expect(far.clock.pendingTimers).toBe(0)
  })
})
