import type { Clock } from '../../api/clock.ts'
import { delay } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { exceptionError, linkDownError, timeoutError } from './errors.ts'
import type {
  LinkState,
  ModbusReply,
  ModbusRequest,
  ModbusResponse,
  ModbusSession,
  RequestOptions,
  SessionStats,
} from './session.ts'
import { Counters } from './stats.ts'
import type { Table } from './tables.ts'

const TABLE_OF: Readonly<Record<number, Table>> = { 1: 'coil', 2: 'discrete', 3: 'holding', 4: 'input' }

/** One unit of a scripted line: what it holds and how it behaves. */
export class ScriptedUnit {
  readonly memory: Record<Table, Map<number, number>> = {
    coil: new Map(),
    discrete: new Map(),
    input: new Map(),
    holding: new Map(),
  }
  dead = false
  /** Milliseconds until it answers. */
  latencyMs = 5
  /** Addresses it refuses with exception 2. */
  readonly refuses: { table: Table; start: number; end: number }[] = []
  maxCount = 125
  /** Exceptions it answers with first, one a request. */
  readonly exceptions: number[] = []
  /** What it makes of a written register. */
  onWrite: (address: number, value: number) => number = (_, value) => value

  answer(request: ModbusRequest): ModbusResponse | number {
    const exception = this.exceptions.shift()
    if (exception !== undefined) return exception
    switch (request.fc) {
      case 1:
      case 2: {
        const table = TABLE_OF[request.fc]!
        if (this.#refused(table, request.address, request.count)) return 2
        const bits = new Uint8Array(Math.ceil(request.count / 8))
        for (let i = 0; i < request.count; i++) {
          if (this.memory[table].get(request.address + i)) bits[i >> 3]! |= 1 << (i & 7)
        }
        return { fc: request.fc, count: request.count, bits }
      }
      case 3:
      case 4: {
        const table = TABLE_OF[request.fc]!
        if (request.count > this.maxCount) return 3
        if (this.#refused(table, request.address, request.count)) return 2
        const registers = new Uint8Array(request.count * 2)
        const view = new DataView(registers.buffer)
        for (let i = 0; i < request.count; i++) view.setUint16(i * 2, this.memory[table].get(request.address + i) ?? 0)
        return { fc: request.fc, registers }
      }
      case 5:
        this.memory.coil.set(request.address, request.value ? 1 : 0)
        return { fc: 5, address: request.address, value: request.value }
      case 6:
        this.#put(request.address, request.value)
        return { fc: 6, address: request.address, value: request.value }
      case 16:
        request.values.forEach((value, index) => {
          this.#put(request.address + index, value)
        })
        return { fc: 16, address: request.address, count: request.values.length }
      case 22: {
        const current = this.memory.holding.get(request.address) ?? 0
        this.#put(request.address, (current & request.and) | (request.or & ~request.and & 0xffff))
        return { fc: 22, address: request.address, and: request.and, or: request.or }
      }
      default:
        return 1
    }
  }

  #put(address: number, value: number): void {
    this.memory.holding.set(address, this.onWrite(address, value))
  }

  #refused(table: Table, start: number, count: number): boolean {
    return this.refuses.some((range) => range.table === table && range.start < start + count && range.end > start)
  }
}

/** A line in virtual time: one request at a time, timed like 9600 baud, with 200 ms of quiet after a time-out. */
export class ScriptedSession implements ModbusSession {
  readonly units = new Map<number, ScriptedUnit>()
  readonly log: { atMs: number; unit: number; request: ModbusRequest }[] = []
  readonly stats: SessionStats & Counters = new Counters()
  state: LinkState = { phase: 'up' }
  closed = false
  readonly #clock: Clock
  readonly #charMs: number
  readonly #listeners = new Set<(state: LinkState) => void>()
  #tail: Promise<unknown> = Promise.resolve()
  #cut = new AbortController()

  constructor(clock: Clock, baud = 9600) {
    this.#clock = clock
    this.#charMs = 11_000 / baud
  }

  unit(id: number): ScriptedUnit {
    const known = this.units.get(id)
    if (known !== undefined) return known
    const unit = new ScriptedUnit()
    this.units.set(id, unit)
    return unit
  }

  request(unit: number, request: ModbusRequest, options: RequestOptions): Promise<ModbusReply> {
    if (this.state.phase === 'down') return Promise.reject(linkDownError('line', this.state.reason))
    const result = this.#tail.then(() => this.#exchange(unit, request, options))
    this.#tail = result.catch(() => undefined)
    return result
  }

  onState(listener: (state: LinkState) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  unplug(): void {
    this.#set({ phase: 'down', reason: new SluiceError('SLUICE_MODBUS_LINK_DOWN', 'the adapter is gone') })
    this.#cut.abort(linkDownError('line', this.state.reason))
    this.#cut = new AbortController()
  }

  plug(): void {
    this.#set({ phase: 'up' })
  }

  closeIdle(): void {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true
  }

  async #exchange(id: number, request: ModbusRequest, options: RequestOptions): Promise<ModbusReply> {
    options.signal?.throwIfAborted()
    const cut = this.#cut.signal
    const startMs = this.#clock.monotonic()
    this.log.push({ atMs: startMs, unit: id, request })
    const unit = this.units.get(id)
    const silenceMs = 3.5 * this.#charMs
    if (unit === undefined || unit.dead || unit.latencyMs > options.timeoutMs) {
      await delay(this.#clock, 8 * this.#charMs + options.timeoutMs + 200, cut)
      throw timeoutError(id, request.fc, options.timeoutMs)
    }
    const turnaroundMs = silenceMs + unit.latencyMs
    await delay(this.#clock, 8 * this.#charMs + turnaroundMs, cut)
    const response = unit.answer(request)
    if (typeof response === 'number') {
      await delay(this.#clock, 5 * this.#charMs + silenceMs, cut)
      throw exceptionError(id, request.fc, response)
    }
    const data = 'registers' in response ? response.registers.length : 'bits' in response ? response.bits.length : 3
    await delay(this.#clock, (5 + data) * this.#charMs + silenceMs, cut)
    this.stats.learnTurnaround(id, turnaroundMs)
    return { response, turnaroundMs, wireMs: this.#clock.monotonic() - startMs }
  }

  #set(state: LinkState): void {
    this.state = state
    for (const listener of this.#listeners) listener(state)
  }
}
