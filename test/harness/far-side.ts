import { type IServiceVector, ServerTCP } from 'modbus-serial'
import { keptPort } from '../../hil/kept-port.ts'
import { type TcpProxy, tcpProxy } from './tcp-proxy.ts'
import { eventually } from './until.ts'

/** What a unit of the far side gave out, oldest first: value n is `served[n - 1]`. */
export interface Served {
  readonly value: number
  /** performance.now() of the moment. */
  readonly atMs: number
}

export interface Written {
  readonly register: number
  readonly value: number
  readonly atMs: number
}

export interface Unit {
  readonly served: Served[]
  readonly written: Written[]
  readonly holding: Map<number, number>
  /** Writes to these registers are answered with exception 2. */
  readonly refused: Set<number>
}

/** Devices on Modbus TCP that are not ours: `modbus-serial` answers. */
export interface FarSide extends AsyncDisposable {
  /** Port that stays the same whatever happens behind it. */
  readonly port: number
  readonly wire: TcpProxy
  unit(id: number): Unit
  /** Resolves when nobody is connected any more and what they had asked for is served. */
  quiet(): Promise<void>
  /** Resolves after that many more values were served. */
  afterReads(id: number, count: number): Promise<void>
}

/** Input registers 0 and 1 of every unit: a number of 32 bits that grows by one with every read, so none comes twice. */
export const COUNTER_REGISTER = 0

export async function farSide(): Promise<FarSide> {
  const units = new Map<number, Unit>()
  const waiting = new Set<{ readonly unit: Unit; readonly from: number; readonly wake: () => void }>()
  const unitOf = (id: number): Unit => {
    let unit = units.get(id)
    if (unit === undefined) units.set(id, (unit = { served: [], written: [], holding: new Map(), refused: new Set() }))
    return unit
  }
  const vector: IServiceVector = {
    getMultipleInputRegisters(address: number, count: number, id: number) {
      const unit = unitOf(id)
      const value = unit.served.length + 1
      unit.served.push({ value, atMs: performance.now() })
      for (const each of waiting) if (each.unit === unit && value >= each.from) each.wake()
      const words = [value >>> 16, value & 0xffff]
      return Array.from({ length: count }, (_, index) => words[address + index] ?? 0)
    },
    getInputRegister: (address: number, id: number) => unitOf(id).holding.get(1000 + address) ?? 0,
    getHoldingRegister: (address: number, id: number) => unitOf(id).holding.get(address) ?? 0,
    setRegister(address: number, value: number, id: number) {
      const unit = unitOf(id)
      // The library answers with the exception that a thrown object names.
      if (unit.refused.has(address)) throw Object.assign(new Error('refused'), { modbusErrorCode: 2 })
      unit.holding.set(address, value)
      unit.written.push({ register: address, value, atMs: performance.now() })
    },
  }
  const { server, port } = await listening(vector)
  const wire = await tcpProxy(port)
  return {
    port: wire.port,
    wire,
    unit: unitOf,
    async quiet() {
      await eventually(() => wire.open === 0, 'nobody is connected to the far side')
      // What the proxy passed on last is read in the next round of the event loop.
      for (let round = 0; round < 2; round++) await new Promise<void>((resolve) => setImmediate(resolve))
    },
    afterReads(id, count) {
      const unit = unitOf(id)
      const from = unit.served.length + count
      if (count <= 0) return Promise.resolve()
      return new Promise((resolve) => {
        const each = {
          unit,
          from,
          wake: () => {
            waiting.delete(each)
            resolve()
          },
        }
        waiting.add(each)
      })
    },
    async [Symbol.asyncDispose]() {
      await wire[Symbol.asyncDispose]()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** The library takes port 0 for its default, so a free one is looked for beforehand; another taker means once more. */
async function listening(vector: IServiceVector, attempt = 1): Promise<{ server: ServerTCP; port: number }> {
  const port = await keptPort()
  const server = new ServerTCP(vector, { host: '127.0.0.1', port, unitID: 255 })
  server.on('socketError', () => {})
  server.on('error', () => {})
  const error = await new Promise<unknown>((resolve) => {
    server.on('serverError', resolve)
    server.on('initialized', () => resolve(undefined))
  })
  if (error === undefined || error === null) return { server, port }
  if (attempt >= 5) throw error
  return listening(vector, attempt + 1)
}
