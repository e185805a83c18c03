import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { ServerSerial } from 'modbus-serial'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { RtuUnits, registerValue, TcpUnits } from '../../hil/modbus-unit.ts'
import { type SerialLine, serialLine } from '../../hil/serial-line.ts'
import { foreignTcpServer } from './foreign-server.test-helper.ts'
import { preciseClock } from './precise-clock.ts'
import { type ModbusRequest, type ModbusSession, openSerialSession, openTcpSession } from './session.ts'

const patience = { timeoutMs: 2000 }
const code = (expected: string) => expect.objectContaining({ code: expected })
const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/** A plant kept by the foreign implementation; unit 1, registers that can be written. */
function plant() {
  const registers = new Map<number, number>()
  const coils = new Map<number, boolean>()
  return {
    getHoldingRegister: (address: number, unit: number) => registers.get(address) ?? registerValue(unit, address),
    getInputRegister: (address: number, unit: number) => registerValue(unit, address),
    getCoil: (address: number) => coils.get(address) ?? false,
    getDiscreteInput: (address: number) => address % 3 === 0,
    setRegister: (address: number, value: number) => void registers.set(address, value),
    setCoil: (address: number, value: boolean) => void coils.set(address, value),
    readDeviceIdentification: () => ({ 0: 'Acme', 1: 'Drive', 2: 'V1' }),
  }
}

async function foreignTcp(): Promise<number> {
  const { port, close } = await foreignTcpServer(plant())
  cleanups.push(close)
  return port
}

/** A foreign unit at end 1 of a line. It takes a pause of its idle time for the end of a request, also one of this process. */
async function foreignSerial(line: SerialLine, baud: number): Promise<void> {
  const options = { path: line.paths[1]!, baudRate: baud, unitID: 1, interval: 100 }
  const server = new ServerSerial(plant(), options)
  await once(server, 'initialized')
  cleanups.push(() => new Promise<void>((resolve) => server.close(() => resolve())))
}

function keep<T extends AsyncDisposable>(resource: T): T {
  cleanups.push(async () => resource[Symbol.asyncDispose]())
  return resource
}

async function exercise(session: ModbusSession): Promise<void> {
  const ask = async (request: ModbusRequest) => (await session.request(1, request, patience)).response
  const words = (...values: number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]))
  expect(await ask({ fc: 4, address: 7, count: 2 })).toEqual({
    fc: 4,
    registers: words(registerValue(1, 7), registerValue(1, 8)),
  })
  await ask({ fc: 6, address: 20, value: 513 })
  await ask({ fc: 16, address: 21, values: [1, 65_535] })
  expect(await ask({ fc: 3, address: 20, count: 3 })).toEqual({ fc: 3, registers: words(513, 1, 65_535) })
  await ask({ fc: 5, address: 2, value: true })
  await ask({ fc: 15, address: 3, values: [false, true, true] })
  expect(await ask({ fc: 1, address: 0, count: 6 })).toEqual({ fc: 1, count: 6, bits: Buffer.of(0b110100) })
  expect(await ask({ fc: 2, address: 0, count: 4 })).toEqual({ fc: 2, count: 4, bits: Buffer.of(0b1001) })
}

describe('against the modbus-serial server', () => {
  it('reads and writes every table over TCP', async () => {
    const port = await foreignTcp()
    const session = keep(
      openTcpSession({ host: '127.0.0.1', port, framing: 'tcp', connectTimeoutMs: 2000 }, { clock: systemClock }),
    )
    await exercise(session)
    const { response } = await session.request(1, { fc: 43, category: 1, objectId: 0 }, patience)
    expect(response.fc === 43 && response.objects.map(({ value }) => Buffer.from(value).toString())).toEqual([
      'Acme',
      'Drive',
      'V1',
    ])
  })

  it('pipelines many requests over TCP without mixing any two up', async () => {
    const port = await foreignTcp()
    const session = keep(openTcpSession({ host: '127.0.0.1', port, framing: 'tcp' }, { clock: systemClock }))
    const work = Array.from({ length: 500 }, async (_, address) => {
      const { response } = await session.request(1, { fc: 3, address, count: 1 }, patience)
      if (response.fc !== 3) throw new Error('not a read')
      expect(Buffer.from(response.registers).readUInt16BE(0)).toBe(registerValue(1, address))
    })
    await Promise.all(work)
    expect(session.stats.replies).toBe(500)
  })

  it('reads and writes every table over a serial line at 19 200 baud', async () => {
    const line = keep(serialLine({ baud: 19_200 }, preciseClock))
    await foreignSerial(line, 19_200)
    const session = keep(openSerialSession({ path: line.paths[0]!, baud: 19_200, stopBits: 2 }, { clock: systemClock }))
    await exercise(session)
    expect(line.stats.collisions).toBe(0)
  })
})

describe('over real sockets and ports', () => {
  it('speaks RTU through a transparent TCP gateway', async () => {
    const server = createServer((socket) => {
      const units = new RtuUnits([4])
      socket.on('data', (chunk) => {
        for (const answer of units.push(chunk)) socket.write(answer)
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    cleanups.push(async () => server.close())
    const { port } = server.address() as AddressInfo
    const session = keep(openTcpSession({ host: '127.0.0.1', port, framing: 'rtu' }, { clock: systemClock }))
    const { response } = await session.request(4, { fc: 3, address: 9, count: 1 }, patience)
    expect(response.fc === 3 && Buffer.from(response.registers).readUInt16BE(0)).toBe(registerValue(4, 9))
  })

  it('says at once that nobody listens, and connects by itself when somebody does', async () => {
    const probe = createServer()
    await once(probe.listen(0, '127.0.0.1'), 'listening')
    const { port } = probe.address() as AddressInfo
    await new Promise((resolve) => probe.close(resolve))
    const options = { host: '127.0.0.1', port, framing: 'tcp', reconnectMinMs: 5, reconnectMaxMs: 20 } as const
    const session = keep(openTcpSession(options, { clock: systemClock }))
    await expect(session.request(1, { fc: 3, address: 0, count: 1 }, patience)).rejects.toEqual(
      code('SLUICE_MODBUS_LINK_DOWN'),
    )
    expect(session.state.reason).toEqual(code('SLUICE_MODBUS_CONNECT'))
    const up = new Promise<void>((resolve) => {
      session.onState((state) => state.phase === 'up' && resolve())
    })
    const server = createServer((socket) => {
      const units = new TcpUnits()
      socket.on('data', (chunk) => socket.write(units.push(chunk)))
      socket.on('error', () => undefined)
    })
    await once(server.listen(port, '127.0.0.1'), 'listening')
    cleanups.push(async () => server.close())
    await up
    await session.request(1, { fc: 3, address: 0, count: 1 }, patience)
  })

  it('survives a serial adapter that is unplugged and plugged in again', async () => {
    const line = keep(serialLine({ baud: 115_200 }, preciseClock))
    await foreignSerial(line, 115_200)
    const options = { path: line.paths[0]!, baud: 115_200, stopBits: 2, reconnectMinMs: 5, reconnectMaxMs: 20 } as const
    const session = keep(openSerialSession(options, { clock: systemClock }))
    const read = () => session.request(1, { fc: 3, address: 0, count: 1 }, patience)
    const reached = (phase: string, reason?: string) =>
      new Promise<void>((resolve) => {
        session.onState(
          (state) => state.phase === phase && (reason === undefined || state.reason?.code === reason) && resolve(),
        )
      })
    await read()
    const gone = reached('down', 'SLUICE_MODBUS_SERIAL_GONE')
    const missing = reached('down', 'SLUICE_MODBUS_SERIAL_OPEN')
    await line.unplug(0)
    await gone
    await missing
    await expect(read()).rejects.toEqual(code('SLUICE_MODBUS_LINK_DOWN'))
    const up = reached('up')
    line.plug(0)
    await up
    await read()
  })

  it('says that another program holds the port', async () => {
    const line = keep(serialLine({ baud: 115_200 }, preciseClock))
    await foreignSerial(line, 115_200)
    const session = keep(openSerialSession({ path: line.paths[1]!, baud: 115_200 }, { clock: systemClock }))
    await expect(session.request(1, { fc: 3, address: 0, count: 1 }, patience)).rejects.toEqual(
      code('SLUICE_MODBUS_LINK_DOWN'),
    )
    expect(session.state.reason).toEqual(code('SLUICE_MODBUS_SERIAL_OPEN'))
    expect(session.state.reason?.hint).toMatch(/Another program/)
  })
})
