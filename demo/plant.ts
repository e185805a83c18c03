/**
 * The plant that `sluice up --demo` talks to: an energy meter on Modbus RTU and a variable-speed drive on Modbus TCP,
 * both answered by a Modbus server that is not ours. A process of its own, like real devices: it prints one JSON line
 * with its endpoints, `{"event":"ready","meter":{"port","baud"},"drive":{"host","port"}}`, and ends when its standard
 * input closes. The lines `unplug` and `plug` on standard input pull the serial adapter out and put it back. With `--memory FILE` the drive keeps its parameters and its port and the meter its count over a restart, as
 * real ones do; `--link PATH` gives the serial adapter a name that stays the same.
 */
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import type { IServiceVector, ServerSerial as SerialServer, ServerTCP as TcpServer } from 'modbus-serial'
import { systemClock } from '../api/clock.ts'
import { serialLine } from '../hil/serial-line.ts'
import { SiteMeter } from './household.ts'
import { createMotor, type Motor, motorPower, stepMotor } from './motor.ts'
import { driveRegister, meterRegisters, writeDriveRegister } from './registers.ts'

/** The package is CommonJS and assigns its exports at run time, so that only `require` sees all of them. */
const { ServerSerial, ServerTCP } = createRequire(import.meta.url)('modbus-serial') as {
  ServerSerial: typeof SerialServer
  ServerTCP: typeof TcpServer
}

const HOST = '127.0.0.1'
const BAUD = 9600
const STEP_MS = 100
/** The server takes this much silence for the end of a request; a real meter answers in about the same time. */
const FRAME_GAP_MS = 12

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { memory: { type: 'string' }, link: { type: 'string' } } })
  const memory = values.memory === undefined ? {} : recall(values.memory)
  const motor: Motor = { ...createMotor(), ...memory.drive }
  const meter = new SiteMeter(Math.random, memory.energyKWh)
  const advance = (seconds: number) => {
    const now = new Date()
    stepMotor(motor, seconds)
    const second = now.getHours() * 3600 + now.getMinutes() * 60 + now.getSeconds()
    meter.step(seconds, second, motorPower(motor))
  }
  advance(0)
  const ticker = setInterval(() => advance(STEP_MS / 1000), STEP_MS)
  const line = serialLine({ baud: BAUD }, systemClock)
  let stopping = false
  let port = 0
  const stop = async () => {
    if (stopping) return
    stopping = true
    clearInterval(ticker)
    if (values.memory !== undefined) remember(values.memory, motor, meter, port)
    if (values.link !== undefined) rmSync(values.link, { force: true })
    await line[Symbol.asyncDispose]()
    process.exit(0)
  }
  process.stdin.on('close', stop)
  createInterface({ input: process.stdin }).on('line', (command) => {
    if (command === 'unplug') void line.unplug(0)
    else if (command === 'plug') line.plug(0)
  })
  process.on('SIGTERM', stop)
  // Ctrl-C reaches the whole group; who started the plant decides when it ends.
  process.on('SIGINT', () => {})
  await serveMeter(meter, line.paths[1]!)
  port = await serveDrive(motor, memory.port)
  const { link = line.paths[0]! } = values
  if (values.link !== undefined) {
    rmSync(link, { force: true })
    symlinkSync(line.paths[0]!, link)
  }
  const ready = { event: 'ready', meter: { port: link, baud: BAUD }, drive: { host: HOST, port } }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
}

interface Memory {
  readonly drive?: Pick<Motor, 'enabled' | 'setpoint' | 'rampS'>
  readonly energyKWh?: number
  readonly port?: number
}

function recall(file: string): Memory {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Memory
  } catch {
    // A plant that was never there, or whose memory was lost: everything as it left the factory.
    return {}
  }
}

function remember(file: string, { enabled, setpoint, rampS }: Motor, meter: SiteMeter, port: number): void {
  const memory: Memory = { drive: { enabled, setpoint, rampS }, energyKWh: meter.reading.energyKWh, port }
  writeFileSync(file, JSON.stringify(memory))
}

function serveMeter(meter: SiteMeter, path: string): Promise<void> {
  const vector: IServiceVector = {
    getInputRegister: (address: number) => meterRegisters(meter.reading, address, 1)[0]!,
    getMultipleInputRegisters: (address: number, count: number) => meterRegisters(meter.reading, address, count),
  }
  return new Promise((resolve, reject) => {
    const options = {
      path,
      baudRate: BAUD,
      unitID: 1,
      interval: FRAME_GAP_MS,
      openCallback: (error: Error | null) => (error ? reject(error) : resolve()),
    }
    new ServerSerial(vector, options).on('error', () => {})
  })
}

async function serveDrive(motor: Motor, wanted: number | undefined): Promise<number> {
  const vector: IServiceVector = {
    getHoldingRegister: (address: number) => driveRegister(motor, address),
    setRegister: (address: number, value: number) => writeDriveRegister(motor, address, value),
  }
  // The library takes port 0 for its default, so a free one is found beforehand.
  const port = await freePort(wanted ?? 0)
  return new Promise((resolve, reject) => {
    const server = new ServerTCP(vector, { host: HOST, port, unitID: 1 })
    server.on('serverError', reject)
    server.on('socketError', () => {})
    server.on('initialized', () => resolve(port))
  })
}

/** The wanted port when it is free, else any free one. */
function freePort(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.on('error', (error) => (wanted === 0 ? reject(error) : resolve(freePort(0))))
    probe.listen(wanted, HOST, () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

await main()
