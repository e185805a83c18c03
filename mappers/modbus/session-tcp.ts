import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { ModbusRequest } from './codec.ts'
import { checkRequest, decodeResponse, encodeRequest } from './codec.ts'
import { busyError, closedError, exceptionError, linkDownError, timeoutError } from './errors.ts'
import { SessionLink } from './link.ts'
import { MbapReader, mbapHeaderLength, putMbapHeader } from './mbap.ts'
import type {
  LinkState,
  ModbusReply,
  ModbusSession,
  RequestOptions,
  SessionDeps,
  SessionStats,
  TcpSessionOptions,
} from './session.ts'
import { Counters } from './stats.ts'
import type { ByteTransport, OpenTransport } from './transport.ts'
import { TransactionWindow } from './window.ts'

/** Requests whose answers may still come on this connection; beyond that it is made anew. */
const mostAbandoned = 1024
/**
 * What one flush writes, of whichever session: it is filled and written in one go. It holds far more than the largest
 * window of the largest requests.
 */
const outgoing = Buffer.allocUnsafeSlow(64 * 260)

interface Job {
  readonly unit: number
  readonly request: ModbusRequest
  readonly timeoutMs: number
  readonly resolve: (reply: ModbusReply) => void
  readonly reject: (reason: unknown) => void
  readonly forget: (() => void) | undefined
  sentAtMs: number
  deadlineMs: number
  abandoned: boolean
}

/**
 * Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b): many requests under way, matched by transaction id.
 *
 * - A late answer is dropped by its id, and the id of a request that timed out is not used again on this connection
 *   until its answer came: no answer is ever taken for another's, however late.
 * - Bytes that are no MBAP frame, an answer that never ends, or `reconnectAfterTimeouts` time-outs in a row
 *   (a half-open peer) end the connection; it is made anew and everything under way fails with `SLUICE_MODBUS_LINK_DOWN`.
 * - With `transactionIdZero` ids say nothing: one request at a time, and a time-out ends the connection.
 */
export class TcpSession implements ModbusSession {
  readonly #options: TcpSessionOptions
  readonly #where: string
  readonly #clock: Clock
  readonly #link: SessionLink
  readonly #stats = new Counters()
  readonly #window: TransactionWindow
  readonly #reader: MbapReader
  readonly #pending = new Map<number, Job>()
  readonly #abandoned = new Set<number>()
  readonly #queue: Job[] = []
  #queueHead = 0
  #outgoingLength = 0
  #flushAsked = false
  #transport: ByteTransport | undefined
  #nextId = 1
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #pauseTimer: Timer | undefined
  #readyAtMs = 0
  #chunkAtMs = 0
  #windowFull = false
  #busySinceMs = -1
  #timeoutsInRow = 0
  #lastTimeoutMs = Number.NEGATIVE_INFINITY
  #closed = false
  readonly #oneByOne: boolean
  readonly #flush = () => this.#doFlush()

  constructor(options: TcpSessionOptions, open: OpenTransport, deps: Required<SessionDeps>) {
    this.#options = options
    this.#where = `${options.host}:${options.port}`
    this.#clock = deps.clock
    this.#oneByOne = options.transactionIdZero === true || (options.pauseBetweenRequestsMs ?? 0) > 0
    const max = this.#oneByOne ? 1 : (options.maxWindow ?? 16)
    this.#window = new TransactionWindow(options.initialWindow ?? 1, max)
    this.#reader = new MbapReader((bytes, id, start, end) => this.#frame(bytes, id, start, end))
    const hooks = {
      up: (transport: ByteTransport) => this.#up(transport),
      down: (reason: SluiceError | undefined) => this.#down(reason),
      busy: () => this.#pending.size > 0 || this.#queue.length > this.#queueHead,
    }
    this.#link = new SessionLink(open, options, hooks, deps.clock, deps.random)
  }

  get state(): LinkState {
    return this.#link.state
  }

  get stats(): SessionStats {
    this.#stats.window = this.#window.size
    return this.#stats
  }

  onState(listener: (state: LinkState) => void): () => void {
    return this.#link.onState(listener)
  }

  closeIdle(): void {
    this.#link.closeIdle()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#link.close()
  }

  request(unit: number, request: ModbusRequest, options: RequestOptions): Promise<ModbusReply> {
    return new Promise((resolve, reject) => {
      this.#checkOpen(unit)
      checkRequest(request)
      let forget: (() => void) | undefined
      const { signal } = options
      if (signal !== undefined) {
        signal.throwIfAborted()
        const onAbort = () => this.#abort(job, signal.reason)
        signal.addEventListener('abort', onAbort, { once: true })
        forget = () => signal.removeEventListener('abort', onAbort)
      }
      const { timeoutMs } = options
      const job: Job = {
        unit,
        request,
        timeoutMs,
        resolve,
        reject,
        forget,
        sentAtMs: 0,
        deadlineMs: 0,
        abandoned: false,
      }
      this.#queue.push(job)
      if (this.#transport === undefined) this.#link.need()
      else this.#askFlush()
    })
  }

  #checkOpen(unit: number): void {
    if (this.#closed) throw closedError(this.#where)
    if (!Number.isInteger(unit) || unit < 0 || unit > 255) {
      throw new SluiceError('SLUICE_MODBUS_BOUNDS', `unit ${unit} is not 0 to 255`)
    }
    if (this.#link.isFailing) throw linkDownError(this.#where, this.#link.state.reason)
    const queued = this.#queue.length - this.#queueHead
    if (queued >= (this.#options.maxQueued ?? 4096)) throw busyError(this.#where, queued)
  }

  #up(transport: ByteTransport): void {
    this.#transport = transport
    this.#stats.connects = this.#link.connects
    this.#reader.reset()
    this.#abandoned.clear()
    this.#timeoutsInRow = 0
    transport.onData((chunk) => this.#data(chunk))
    this.#doFlush()
  }

  #down(reason: SluiceError | undefined): void {
    this.#transport = undefined
    this.#pauseTimer?.cancel()
    this.#pauseTimer = undefined
    this.#timer?.cancel()
    this.#timerAtMs = Number.POSITIVE_INFINITY
    this.#outgoingLength = 0
    if (this.#pending.size > 1) this.#window.refused(this.#clock.monotonic())
    const error = this.#closed ? closedError(this.#where) : linkDownError(this.#where, reason)
    const jobs = [...this.#pending.values(), ...this.#queue.slice(this.#queueHead)]
    this.#pending.clear()
    this.#queue.length = 0
    this.#queueHead = 0
    this.#idleFrom(this.#clock.monotonic())
    for (const job of jobs) this.#reject(job, error)
  }

  /** One write for everything that is asked in one turn of the event loop. */
  #askFlush(): void {
    if (this.#flushAsked) return
    this.#flushAsked = true
    process.nextTick(this.#flush)
  }

  #doFlush(): void {
    this.#flushAsked = false
    const transport = this.#transport
    if (transport === undefined || this.#queueHead === this.#queue.length) return
    this.#windowFull = this.#pending.size >= this.#window.size
    if (this.#windowFull) return
    const nowMs = this.#clock.monotonic()
    if (nowMs < this.#readyAtMs) {
      this.#pauseTimer ??= this.#clock.after(this.#readyAtMs - nowMs, () => {
        this.#pauseTimer = undefined
        this.#doFlush()
      })
      return
    }
    this.#outgoingLength = 0
    while (this.#queueHead < this.#queue.length && this.#pending.size < this.#window.size) {
      const job = this.#queue[this.#queueHead++]!
      if (!job.abandoned) this.#put(job, nowMs)
    }
    this.#windowFull = this.#pending.size >= this.#window.size
    this.#compactQueue()
    if (this.#outgoingLength === 0) return
    this.#stats.bytesOut += this.#outgoingLength
    const bytes = outgoing.subarray(0, this.#outgoingLength)
    this.#outgoingLength = 0
    transport.write(bytes)
  }

  #put(job: Job, nowMs: number): void {
    const id = this.#takeId()
    const start = this.#outgoingLength
    const end = encodeRequest(job.request, outgoing, start + mbapHeaderLength)
    putMbapHeader(outgoing, start, id, job.unit, end - start - mbapHeaderLength)
    this.#outgoingLength = end
    job.sentAtMs = nowMs
    job.deadlineMs = nowMs + job.timeoutMs
    if (this.#pending.size === 0) this.#busySinceMs = nowMs
    this.#pending.set(id, job)
    this.#stats.requests++
    if (job.deadlineMs < this.#timerAtMs) this.#armTimer(job.deadlineMs)
  }

  #takeId(): number {
    let id = this.#nextId
    while (this.#abandoned.has(id) || this.#pending.has(id)) id = id >= 0xffff ? 1 : id + 1
    // 0 is never used: gateways that answer everything with 0 must be noticed.
    this.#nextId = id >= 0xffff ? 1 : id + 1
    return id
  }

  #compactQueue(): void {
    if (this.#queueHead === this.#queue.length) {
      this.#queue.length = 0
      this.#queueHead = 0
    } else if (this.#queueHead > 1024) {
      this.#queue.splice(0, this.#queueHead)
      this.#queueHead = 0
    }
  }

  #data(chunk: Uint8Array): void {
    this.#stats.bytesIn += chunk.length
    this.#chunkAtMs = this.#clock.monotonic()
    const problem = this.#reader.push(chunk)
    if (problem !== undefined) {
      this.#stats.garbageBytes += chunk.length
      this.#link.fail(
        new SluiceError('SLUICE_MODBUS_BAD_RESPONSE', `${this.#where} sent what is not Modbus TCP: ${problem}`, {
          hint: 'Perhaps it is a transparent serial gateway: try framing rtu.',
        }),
      )
      return
    }
    if (this.#queueHead < this.#queue.length) this.#askFlush()
  }

  #frame(bytes: Uint8Array, wireId: number, start: number, end: number): void {
    const id = this.#options.transactionIdZero === true ? this.#onlyPendingId(wireId) : wireId
    const job = this.#pending.get(id)
    if (job === undefined) {
      if (this.#abandoned.delete(id)) this.#stats.lateFramesDropped++
      else this.#stats.strayFrames++
      return
    }
    const nowMs = this.#chunkAtMs
    this.#window.replied(this.#windowFull, nowMs)
    this.#pending.delete(id)
    this.#timeoutsInRow = 0
    this.#readyAtMs =
      this.#options.pauseBetweenRequestsMs === undefined ? 0 : nowMs + this.#options.pauseBetweenRequestsMs
    if (this.#pending.size === 0) this.#idleFrom(nowMs)
    this.#link.proven()
    this.#settle(job, bytes, start, end, nowMs)
  }

  #settle(job: Job, bytes: Uint8Array, start: number, end: number, nowMs: number): void {
    const unit = bytes[start]!
    if (unit !== job.unit && this.#options.anyUnit !== true) {
      this.#stats.strayFrames++
      this.#reject(job, badResponse(job, `it names unit ${unit}`))
      return
    }
    const response = decodeResponse(job.request, bytes, start + 1, end)
    const elapsedMs = nowMs - job.sentAtMs
    if (response.fc === -1) {
      this.#stats.strayFrames++
      this.#reject(job, badResponse(job, response.mismatch))
      return
    }
    this.#stats.learnTurnaround(job.unit, elapsedMs)
    if (response.fc === 0) {
      this.#stats.exceptions++
      if (response.exception === 6) this.#window.refused(nowMs)
      this.#reject(job, exceptionError(job.unit, job.request.fc, response.exception))
      return
    }
    this.#stats.replies++
    job.forget?.()
    job.resolve({ response, turnaroundMs: elapsedMs, wireMs: elapsedMs })
  }

  #onlyPendingId(wireId: number): number {
    if (wireId !== 0) return wireId
    for (const id of this.#pending.keys()) return id
    return wireId
  }

  /** One timer a session: it stands at the earliest deadline known when it was set, and looks again when it fires. */
  #armTimer(atMs: number): void {
    this.#timer?.cancel()
    this.#timerAtMs = atMs
    this.#timer = this.#clock.after(Math.max(0, atMs - this.#clock.monotonic()), () => this.#overdue())
  }

  #overdue(): void {
    const nowMs = this.#clock.monotonic()
    this.#timerAtMs = Number.POSITIVE_INFINITY
    let nextMs = Number.POSITIVE_INFINITY
    const late: Job[] = []
    for (const [id, job] of this.#pending) {
      if (job.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, job.deadlineMs)
        continue
      }
      this.#pending.delete(id)
      this.#abandoned.add(id)
      late.push(job)
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#armTimer(nextMs)
    if (late.length === 0) return
    if (this.#pending.size === 0) this.#idleFrom(nowMs)
    this.#stats.timeouts += late.length
    // Requests that were under way together say no more than one of them.
    if (late.some((job) => job.sentAtMs >= this.#lastTimeoutMs)) {
      this.#timeoutsInRow++
      this.#lastTimeoutMs = nowMs
    }
    this.#window.refused(nowMs)
    for (const job of late) this.#reject(job, timeoutError(job.unit, job.request.fc, job.timeoutMs))
    this.#reconnectIfHopeless()
    this.#askFlush()
  }

  #reconnectIfHopeless(): void {
    const most = this.#options.transactionIdZero === true ? 1 : (this.#options.reconnectAfterTimeouts ?? 3)
    if (this.#timeoutsInRow < most && this.#abandoned.size <= mostAbandoned) return
    this.#link.fail(
      new SluiceError(
        'SLUICE_MODBUS_TIMEOUT',
        `${this.#where} left requests unanswered ${this.#timeoutsInRow} times in a row`,
        {
          hint: 'It is connected anew; if that does not help, check the unit number and whether another master holds it.',
        },
      ),
    )
  }

  #abort(job: Job, reason: unknown): void {
    job.abandoned = true
    job.reject(reason)
  }

  #idleFrom(nowMs: number): void {
    if (this.#busySinceMs >= 0) this.#stats.busyMs += nowMs - this.#busySinceMs
    this.#busySinceMs = -1
  }

  #reject(job: Job, reason: SluiceError): void {
    job.forget?.()
    job.reject(reason)
  }
}

function badResponse(job: Job, what: string): SluiceError {
  return new SluiceError(
    'SLUICE_MODBUS_BAD_RESPONSE',
    `unit ${job.unit} answered function ${job.request.fc} with something else: ${what}`,
    { hint: 'Gateways that put their own unit number into answers need the option anyUnit.' },
  )
}
