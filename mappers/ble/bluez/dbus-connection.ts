import { connect, type Socket } from 'node:net'
import type { Clock, Timer } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { type Patience, withDeadline } from '../guard.ts'
import { type DbusMessage, KIND, messageBytes, readMessage, writeMessage } from './dbus-message.ts'
import type { DbusValue } from './dbus-values.ts'

const DEFAULT_SOCKET = '/run/dbus/system_bus_socket'
const BUS = 'org.freedesktop.DBus'
const DO_NOT_QUEUE = 4
const PRIMARY_OWNER = 1
/** A bus that answers the greeting with more than this is none. */
const MAX_GREETING_BYTES = 4096
/**
 * Where nobody waits for an answer, waking up for each signal costs more than decoding it: reads then pause this long.
 * A thousand advertisements a second are 25 kB in that time; the system's buffer holds 200.
 */
const CALM_MS = 80
const READ_BYTES = 65_536
/** So much may wait to be written to a bus that does not read. */
const MAX_UNSENT_BYTES = 1024 * 1024

/** What the other side answered instead of a result: its name and words. */
export class DbusRefusal extends Error {
  readonly errorName: string

  constructor(errorName: string, words: string) {
    super(words === '' ? errorName : `${words} (${errorName})`)
    this.errorName = errorName
  }
}

export interface DbusCall {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly signature?: string
  readonly body?: readonly DbusValue[]
}

/** Answers a call that somebody makes to us; what it throws is answered as an error. */
export type Serve = (call: DbusMessage) => { readonly signature?: string; readonly body?: readonly DbusValue[] }

/** Path of the system bus's socket, from `DBUS_SYSTEM_BUS_ADDRESS` where that names one. */
export function systemBusPath(address = process.env['DBUS_SYSTEM_BUS_ADDRESS']): string {
  const path = /(?:^|;)unix:(?:[^;]*,)?path=([^,;]+)/.exec(address ?? '')?.[1]
  return path === undefined ? DEFAULT_SOCKET : decodeURIComponent(path)
}

/**
 * A client of a D-Bus daemon over its UNIX socket. Only what a mapper needs, because that must cost little: the
 * libraries there are take 120 to 160 microseconds of a core for one advertisement, more than the budget of all of them.
 */
export class DbusConnection implements AsyncDisposable {
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #pending = new Map<number, PromiseWithResolvers<readonly DbusValue[]>>()
  readonly #served = new Map<string, Serve>()
  readonly #closed = Promise.withResolvers<string>()
  #ready: PromiseWithResolvers<void> | undefined = Promise.withResolvers<void>()
  #rest: Buffer = Buffer.alloc(0)
  #serial = 0
  #over = false
  #onSignal: (message: DbusMessage) => void = () => undefined
  #isCalm: () => boolean = () => false
  #pause: Timer | undefined

  private constructor(path: string, clock: Clock) {
    this.#clock = clock
    // A stream that is paused is filled on; only with a buffer of our own the socket is really left alone.
    const buffer = Buffer.alloc(READ_BYTES)
    const callback = (bytes: number) => this.#data(buffer.subarray(0, bytes))
    const socket = connect({ path, onread: { buffer, callback } })
    this.#socket = socket
    this.#ready?.promise.catch(() => undefined)
    socket.on('error', (error) => this.#end(error.message))
    socket.on('close', () => this.#end('the bus closed the connection'))
  }

  /** @throws SluiceError `SLUICE_BLE_RADIO` when there is no bus, `SLUICE_BLE_TIMEOUT`, `SLUICE_BLE_CANCELLED`. */
  static async open(path: string, clock: Clock, patience: Patience): Promise<DbusConnection> {
    const connection = new DbusConnection(path, clock)
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex')
    connection.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`)
    try {
      await withDeadline(clock, patience, `greeting the bus at ${path}`, async () => connection.#ready?.promise)
      await connection.call(
        { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS, member: 'Hello' },
        patience,
      )
      return connection
    } catch (thrown) {
      await connection[Symbol.asyncDispose]()
      if (thrown instanceof SluiceError && thrown.code === 'SLUICE_BLE_RADIO') throw unwelcome(path, thrown)
      if (thrown instanceof SluiceError) throw thrown
      const reason = thrown instanceof Error ? thrown.message : String(thrown)
      throw new SluiceError('SLUICE_BLE_RADIO', `the system bus at ${path} cannot be used: ${reason}`, {
        hint: 'Install and start dbus and bluez; in a container mount the socket of the system bus.',
        cause: thrown,
      })
    }
  }

  /** Resolves with the reason once the connection has ended. */
  get closed(): Promise<string> {
    return this.#closed.promise
  }

  onSignal(listener: (message: DbusMessage) => void): void {
    this.#onSignal = listener
  }

  /** Signals may come a little later, many at once, while `isCalm` and no call waits for its answer. */
  rest(isCalm: () => boolean): void {
    this.#isCalm = isCalm
  }

  /** Answers calls to `path`; everything else is answered as unknown. */
  serve(path: string, serve: Serve): void {
    this.#served.set(path, serve)
  }

  /** @throws DbusRefusal; SluiceError `SLUICE_BLE_TIMEOUT`, `SLUICE_BLE_CANCELLED`, `SLUICE_BLE_RADIO`. */
  async call(call: DbusCall, patience: Patience): Promise<readonly DbusValue[]> {
    let serial = 0
    const start = async () => {
      serial = this.#nextSerial()
      const answer = Promise.withResolvers<readonly DbusValue[]>()
      this.#pending.set(serial, answer)
      this.#hurry()
      this.#send({ kind: KIND.call, serial, body: [], ...call })
      return answer.promise
    }
    try {
      return await withDeadline(this.#clock, patience, `${call.member} of ${call.path}`, start)
    } finally {
      this.#pending.delete(serial)
    }
  }

  /** Tells everybody who listens. */
  signal(path: string, of: string, member: string, signature: string, body: readonly DbusValue[]): void {
    this.#send({ kind: KIND.signal, serial: this.#nextSerial(), path, interface: of, member, signature, body })
  }

  async addMatch(rule: string, patience: Patience): Promise<void> {
    const call = { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS, member: 'AddMatch' }
    await this.call({ ...call, signature: 's', body: [rule] }, patience)
  }

  /** Name of the bus itself. */
  get name(): string {
    return BUS
  }

  /** The unique name behind a well-known one: what signals and calls of that service are sent by. */
  async ownerOf(name: string, patience: Patience): Promise<string> {
    const call = { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS, member: 'GetNameOwner' }
    const [owner] = await this.call({ ...call, signature: 's', body: [name] }, patience)
    return String(owner)
  }

  /** Takes a well-known name, as a service does. @throws DbusRefusal, and `SLUICE_BLE_RADIO` when somebody else has it. */
  async requestName(name: string, patience: Patience): Promise<void> {
    const call = { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS, member: 'RequestName' }
    const [answer] = await this.call({ ...call, signature: 'su', body: [name, DO_NOT_QUEUE] }, patience)
    if (answer !== PRIMARY_OWNER) throw gone(`somebody else is ${name}`)
  }

  /** Waits for something that happens on the bus, by this connection's clock. */
  within<T>(patience: Patience, what: string, start: () => Promise<T>): Promise<T> {
    return withDeadline(this.#clock, patience, what, start)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end('closed by us')
  }

  #nextSerial(): number {
    this.#serial = this.#serial === 0xffffffff ? 1 : this.#serial + 1
    return this.#serial
  }

  #send(message: DbusMessage): void {
    if (this.#over) throw gone('the connection to the bus has ended')
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) throw gone('the bus does not read what it is sent')
    this.#socket.write(writeMessage(message))
  }

  /** Returns false when the next bytes can wait. `chunk` is read into again afterwards. */
  #data(chunk: Buffer): boolean {
    try {
      let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
      if (this.#ready !== undefined) bytes = this.#greeted(bytes)
      if (this.#ready === undefined) bytes = this.#messages(bytes)
      this.#rest = Buffer.from(bytes)
      return !this.#doze()
    } catch (thrown) {
      this.#end(thrown instanceof Error ? thrown.message : String(thrown))
      return false
    }
  }

  #doze(): boolean {
    if (this.#over || this.#pending.size > 0 || !this.#isCalm()) return false
    this.#pause ??= this.#clock.after(CALM_MS, () => this.#hurry(), true)
    return true
  }

  #hurry(): void {
    if (this.#pause === undefined) return
    this.#pause.cancel()
    this.#pause = undefined
    this.#socket.resume()
  }

  #greeted(bytes: Buffer): Buffer {
    const end = bytes.indexOf('\r\n')
    if (end < 0 && bytes.length < MAX_GREETING_BYTES) return bytes
    const line = bytes.toString('latin1', 0, Math.max(0, end))
    if (!line.startsWith('OK ')) throw new Error(`the bus does not let this user in (${line.slice(0, 100)})`)
    this.#socket.write('BEGIN\r\n')
    this.#ready?.resolve()
    this.#ready = undefined
    return bytes.subarray(end + 2)
  }

  #messages(bytes: Buffer): Buffer {
    let at = 0
    for (;;) {
      const size = messageBytes(bytes, at)
      if (size === undefined || at + size > bytes.length) return bytes.subarray(at)
      this.#message(readMessage(bytes.subarray(at, at + size)))
      at += size
    }
  }

  #message(message: DbusMessage): void {
    if (message.kind === KIND.signal) this.#onSignal(message)
    else if (message.kind === KIND.call) this.#answer(message)
    else {
      const answer = this.#pending.get(message.replySerial ?? 0)
      if (answer === undefined) return
      if (message.kind === KIND.result) answer.resolve(message.body)
      else answer.reject(new DbusRefusal(message.error ?? 'unknown', String(message.body[0] ?? '')))
    }
  }

  #answer(call: DbusMessage): void {
    const back = { serial: this.#nextSerial(), replySerial: call.serial, body: [] }
    const to = call.sender === undefined ? {} : { destination: call.sender }
    try {
      const serve = this.#served.get(call.path ?? '')
      if (serve === undefined) throw new DbusRefusal('org.freedesktop.DBus.Error.UnknownObject', 'nothing is here')
      this.#send({ ...back, ...to, kind: KIND.result, ...serve(call) })
    } catch (thrown) {
      const error = thrown instanceof DbusRefusal ? thrown.errorName : 'org.freedesktop.DBus.Error.Failed'
      this.#send({ ...back, ...to, kind: KIND.error, error })
    }
  }

  #end(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.#pause?.cancel()
    this.#ready?.reject(new Error(reason))
    for (const answer of this.#pending.values()) answer.reject(gone(reason))
    this.#pending.clear()
    this.#socket.destroy()
    this.#closed.resolve(reason)
  }
}

const gone = (reason: string) =>
  new SluiceError('SLUICE_BLE_RADIO', `the system bus is gone: ${reason}`, {
    hint: 'It is connected to again by itself.',
  })

/** It took our word for who we are and then hung up, as a bus does with users it cannot look up. */
const unwelcome = (path: string, cause: SluiceError): SluiceError =>
  new SluiceError('SLUICE_BLE_RADIO', `the system bus at ${path} hung up on user ${process.getuid?.() ?? 0}`, {
    hint: 'The machine that runs the bus must know the user: give it an entry in /etc/passwd there (useradd).',
    cause,
  })
