import { VirtualClock } from '../api/virtual-clock.ts'
import { rtuFraming } from '../mappers/modbus/line-framing.ts'
import { serialTiming } from '../mappers/modbus/line-timing.ts'
import type { LineOptions, ModbusSession } from '../mappers/modbus/session.ts'
import { LineSession } from '../mappers/modbus/session-line.ts'
import type { ByteTransport } from '../mappers/modbus/transport.ts'
import { RtuUnits } from './modbus-unit.ts'
import { PacedWire, type PacedWireOptions } from './paced-wire.ts'

export interface TestBusOptions extends Partial<PacedWireOptions> {
  readonly units?: readonly number[]
  /** What the wire really does, where that differs from what the master was told. */
  readonly wireBaud?: number
  /** How long the units think, in milliseconds, given the number of the request. Default 3. */
  readonly turnaroundMs?: (request: number) => number
  readonly line?: LineOptions
  /** Told when the master turns its transceiver round. */
  readonly direction?: ByteTransport['direction']
  /** Replaces what the units say: given the request's number and their answer, what to put on the wire. */
  readonly answer?: (request: number, frame: Uint8Array) => readonly Uint8Array[]
}

/** A master and units on a paced bus, all in virtual time; for tests only. */
export interface TestBus {
  readonly clock: VirtualClock
  readonly session: ModbusSession
  readonly wire: PacedWire
  readonly units: RtuUnits
  /** Hands bytes to the master at once, past the wire. */
  inject(bytes: Uint8Array): void
  /** Puts bytes onto the line out of turn. */
  noise(bytes: Uint8Array): void
  /** Hangs the adapter up; the next open waits for `plug`. */
  unplug(): void
  plug(): void
  /** Lets virtual time pass until the promise settles. */
  run<T>(work: Promise<T>): Promise<T>
}

export function testBus(options: TestBusOptions = {}): TestBus {
  const clock = new VirtualClock()
  const { baud = 115_200, units: ids = [1, 2, 3], turnaroundMs = () => 3, answer = (_, frame) => [frame] } = options
  const units = new RtuUnits(ids)
  let toMaster: ((chunk: Uint8Array) => void) | undefined
  let hangUp: (() => void) | undefined
  let plugged = true
  const wire = new PacedWire({ ...options, baud: options.wireBaud ?? baud }, 2, clock, (to, bytes) => {
    if (to === 0) toMaster?.(bytes)
    else {
      for (const frame of units.push(bytes)) {
        const number = units.requests
        for (const part of answer(number, frame)) clock.after(turnaroundMs(number), () => wire.transmit(1, part))
      }
    }
  })
  const open = async (): Promise<ByteTransport> => {
    if (!plugged) throw new Error('no such port')
    return {
      write: (bytes) => wire.transmit(0, Uint8Array.from(bytes)),
      onData: (listener) => void (toMaster = listener),
      onClose: (listener) => void (hangUp = () => listener(undefined)),
      close: () => void (toMaster = undefined),
      ...(options.direction === undefined ? {} : { direction: options.direction }),
    }
  }
  const timing = serialTiming({ baud, stopBits: 2 }, { maxGapMs: options.line?.maxGapMs ?? 50, ...options.line })
  const setup = { where: 'the test bus', open, framing: rtuFraming, timing, options: options.line ?? {} }
  const session = new LineSession(setup, { clock, lineClock: clock, random: () => 0.5 })
  return {
    clock,
    session,
    wire,
    units,
    inject: (bytes) => toMaster?.(bytes),
    noise: (bytes) => wire.transmit(1, bytes),
    unplug: () => {
      plugged = false
      hangUp?.()
    },
    plug: () => {
      plugged = true
    },
    async run(work) {
      let settled = false
      const mark = () => void (settled = true)
      work.then(mark, mark)
      for (let i = 0; !settled && i < 10_000; i++) await clock.advance(i < 50 ? 10 : 1000)
      return work
    },
  }
}
