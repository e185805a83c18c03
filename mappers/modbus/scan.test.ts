import { once } from 'node:events'
import fc from 'fast-check'
import { ServerSerial } from 'modbus-serial'
import { afterEach, describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { RtuUnits } from '../../hil/modbus-unit.ts'
import { PacedWire } from '../../hil/paced-wire.ts'
import { serialLine } from '../../hil/serial-line.ts'
import type { UartSettings } from '../../hil/uart.ts'
import { foreignTcpServer } from './foreign-server.test-helper.ts'
import { rtuFraming } from './line-framing.ts'
import { serialTiming } from './line-timing.ts'
import { preciseClock } from './precise-clock.ts'
import { candidatesFor, lineName, type ScanEvent, type ScanLine, type ScanOptions, scanModbus } from './scan.ts'
import { LineSession } from './session-line.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

const units = { getHoldingRegister: (address: number) => address, getInputRegister: (address: number) => address }
const identified = { ...units, readDeviceIdentification: () => ({ 0: 'Eastron', 1: 'SDM120-M', 2: 'V1' }) }
/** 'SunS', model 1 of `common` registers with manufacturer and product, an inverter with scale factors, the end. */
function inverterAt(base: number, common: 65 | 66) {
  const map = Buffer.alloc(2 * (4 + common + 52 + 2))
  map.write('SunS\x00\x01\x00', 'latin1')
  map[7] = common
  map.write('Fronius', 8, 'latin1')
  map.write('Symo 10', 40, 'latin1')
  map.writeUInt16BE(103, 2 * (4 + common))
  map.writeUInt16BE(50, 2 * (5 + common))
  map.writeUInt16BE(0xffff, 2 * (56 + common))
  const end = base + map.length / 2
  const at = (address: number) => (address >= base && address < end ? map.readUInt16BE((address - base) * 2) : 0)
  return { ...units, getHoldingRegister: at }
}
const products = [
  { model: 'eastron-sdm120', vendor: 'eastron', product: 'sdm120' },
  { model: 'eastron-sdm630', vendor: 'eastron', product: 'sdm630' },
  { model: 'sunspec-inverter', vendor: 'sunspec', product: 'inverter' },
  { model: 'sunspec-inverter-66', vendor: 'sunspec', product: 'inverter-66' },
]

async function tcpUnit(unitID: number, vector: typeof units): Promise<number> {
  const { port, close } = await foreignTcpServer(vector, unitID)
  cleanups.push(close)
  return port
}

async function scan(options: ScanOptions): Promise<ScanEvent[]> {
  const events: ScanEvent[] = []
  for await (const event of scanModbus(options, new AbortController().signal)) events.push(event)
  return events
}
const found = (events: readonly ScanEvent[]) => events.flatMap((event) => (event.kind === 'found' ? [event] : []))

describe('a Modbus scan of foreign units', () => {
  it('finds the one that answers at a host, who it is and what it resembles', async () => {
    const port = await tcpUnit(3, identified)
    const lines = [{ kind: 'tcp', host: '127.0.0.1', port }] as const
    const events = await scan({ lines, units: [1, 2, 3, 4], timeoutMs: 60, products })
    expect(events.filter(({ kind }) => kind === 'asking')).toHaveLength(4)
    expect(found(events).map(({ sighting: { atMs, ...rest } }) => rest)).toEqual([
      {
        id: `127.0.0.1:${port}:3`,
        address: { tcp: { host: '127.0.0.1', port }, unit: 3 },
        name: 'SDM120-M',
        candidates: [
          { model: 'eastron-sdm120', score: 0.95, why: "its product is 'SDM120-M'" },
          { model: 'eastron-sdm630', score: 0.3, why: "its vendor is 'Eastron'" },
        ],
        facts: {
          ...{ line: `tcp://127.0.0.1:${port}`, unit: '3' },
          ...{ vendor: 'Eastron', product: 'SDM120-M', revision: 'V1' },
        },
      },
    ])
  })

  it('knows an inverter by SunSpec when it does not know 43/14', async () => {
    const port = await tcpUnit(1, inverterAt(40_000, 65))
    const lines = [{ kind: 'tcp', host: '127.0.0.1', port }] as const
    const events = await scan({ lines, units: [1], timeoutMs: 500, products })
    expect(found(events)[0]?.sighting).toMatchObject({
      name: 'Symo 10',
      address: { tcp: { host: '127.0.0.1', port }, unit: 1 },
      facts: {
        ...{ format: 'SunSpec', vendor: 'Fronius', model: 'Symo 10' },
        ...{ sunspecBase: '40000', sunspecModels: '1 at 40002, 103 at 40069' },
      },
      candidates: [{ model: 'sunspec-inverter', score: 0.97, why: 'it has SunSpec model 103 at address 40069' }],
    })
  })

  it('finds SunSpec at another base, and says by how much the addresses of a model have to be moved', async () => {
    const port = await tcpUnit(1, inverterAt(50_000, 66))
    const lines = [{ kind: 'tcp', host: '127.0.0.1', port }] as const
    const events = await scan({ lines, units: [1], timeoutMs: 500, products })
    expect(found(events)[0]?.sighting).toMatchObject({
      address: { unit: 1, shift: 10_000 },
      candidates: [{ model: 'sunspec-inverter-66' }],
    })
  })

  it('finds the baud rate of a serial line and stops there', async () => {
    const line = serialLine({ baud: 19_200 }, preciseClock)
    cleanups.push(async () => line[Symbol.asyncDispose]())
    // Its idle time must hold the gaps of a busy test machine.
    const options = { path: line.paths[1]!, baudRate: 19_200, unitID: 2, interval: 15 }
    const server = new ServerSerial(units, options)
    await once(server, 'initialized')
    cleanups.push(() => new Promise<void>((resolve) => server.close(() => resolve())))
    const lines = [19_200, 9600].map(
      (baud) => ({ kind: 'serial', path: line.paths[0]!, baud, parity: 'none' }) as const,
    )
    const events = await scan({ lines, units: [1, 2], timeoutMs: 300 })
    expect(found(events).map(({ sighting }) => sighting.address)).toEqual([
      { rtu: { port: line.paths[0], baud: 19_200 }, unit: 2 },
    ])
    expect(events.filter(({ kind }) => kind === 'asking')).toHaveLength(2)
  })

  it("tries rates that are not the device's first, hears nothing of use there and finds the one it has", async () => {
    const line = serialLine({ baud: 38_400, choosingEnds: [0] }, preciseClock)
    cleanups.push(async () => line[Symbol.asyncDispose]())
    const options = { path: line.paths[1]!, baudRate: 38_400, unitID: 2, interval: 15 }
    const server = new ServerSerial(identified, options)
    await once(server, 'initialized')
    cleanups.push(() => new Promise<void>((resolve) => server.close(() => resolve())))
    const lines = [9600, 19_200, 57_600, 38_400, 115_200].map(
      (baud) => ({ kind: 'serial', path: line.paths[0]!, baud, parity: 'none' }) as const,
    )
    const events = await scan({ lines, units: [1, 2], timeoutMs: 300, products })
    expect(found(events).map(({ sighting }) => sighting.address)).toEqual([
      { rtu: { port: line.paths[0], baud: 38_400 }, unit: 2 },
    ])
    expect(found(events)[0]?.sighting.candidates[0]).toMatchObject({ model: 'eastron-sdm120' })
    expect(events.filter(({ kind }) => kind === 'asking')).toHaveLength(8)
  })

  it('says why a line cannot be opened', async () => {
    const lines = [{ kind: 'serial', path: '/dev/no-such-port', baud: 9600, parity: 'none' }] as const
    await expect(scan({ lines, units: [1], timeoutMs: 50 })).rejects.toMatchObject({
      code: 'SLUICE_MODBUS_SERIAL_OPEN',
    })
  })

  it('ends at once when it is told to', async () => {
    const port = await tcpUnit(200, units)
    const stop = new AbortController()
    const events = scanModbus(
      { lines: [{ kind: 'tcp', host: '127.0.0.1', port }], units: [1, 2], timeoutMs: 60_000 },
      stop.signal,
    )
    expect((await events.next()).value).toMatchObject({ kind: 'asking', unit: 1 })
    const second = events.next()
    stop.abort(new Error('Ctrl-C'))
    await expect(second).rejects.toThrow('Ctrl-C')
  })
})

const BAUDS = [1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200]
const PARITIES = ['none', 'even', 'odd'] as const

/** A unit behind a UART, and an opener of lines that sets the UART of the master; in virtual time. */
function unitSetTo(device: UartSettings, id: number) {
  const clock = new VirtualClock()
  const units = new RtuUnits([id])
  let master = device
  let toMaster: ((chunk: Uint8Array) => void) | undefined
  const uartOf = (end: number) => (end === 0 ? master : device)
  const wire = new PacedWire({ baud: device.baud, uartOf }, 2, clock, (to, bytes) => {
    if (to === 0) toMaster?.(bytes)
    else for (const frame of units.push(bytes)) clock.after(5, () => wire.transmit(1, frame))
  })
  const open = (line: ScanLine) => {
    if (line.kind !== 'serial') throw new Error('a serial line')
    master = line
    const transport = async () => ({
      write: (bytes: Uint8Array) => wire.transmit(0, Uint8Array.from(bytes)),
      onData: (listener: (chunk: Uint8Array) => void) => void (toMaster = listener),
      onClose: () => undefined,
      close: () => void (toMaster = undefined),
    })
    const timing = serialTiming(line, { maxGapMs: 50 })
    const setup = { where: line.path, open: transport, framing: rtuFraming, timing, options: {} }
    return new LineSession(setup, { clock, lineClock: clock, random: () => 0.5 })
  }
  return { clock, open }
}

describe('a scan of a unit whose settings nobody knows', () => {
  it('finds rate and parity, whichever they are and in whatever order they are tried', async () => {
    const shuffled = fc.shuffledSubarray(
      BAUDS.flatMap((baud) => PARITIES.map((parity) => ({ baud, parity }))),
      { minLength: BAUDS.length * PARITIES.length },
    )
    await fc.assert(
      fc.asyncProperty(shuffled, fc.nat(BAUDS.length * PARITIES.length - 1), async (tried, at) => {
        const device = tried[at]!
        const { clock, open } = unitSetTo(device, 7)
        const lines = tried.map(({ baud, parity }) => ({ kind: 'serial', path: 'line', baud, parity }) as const)
        const events: ScanEvent[] = []
        const scanned = (async () => {
          const options = { lines, units: [6, 7], timeoutMs: 100 }
          for await (const event of scanModbus(options, new AbortController().signal, { clock, open }))
            events.push(event)
          return 'done'
        })()
        let over = false
        void scanned.then(() => (over = true))
        for (let i = 0; !over && i < 20_000; i++) await clock.advance(20)
        expect(found(events).map(({ line }) => line)).toEqual([lineName({ kind: 'serial', path: 'line', ...device })])
        expect(found(events)[0]?.unit).toBe(7)
      }),
      { numRuns: 40 },
    )
  })
})

describe('candidates', () => {
  it('never break, come best first and are few, whatever a device calls itself', () => {
    const products = fc.array(fc.record({ model: fc.string(), vendor: fc.string(), product: fc.string() }))
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), products, (identity, known) => {
        const candidates = candidatesFor(identity, known)
        expect(candidates.length).toBeLessThanOrEqual(5)
        expect(candidates.map(({ score }) => score)).toEqual(
          candidates.map(({ score }) => score).toSorted((a, b) => b - a),
        )
      }),
    )
  })
})
