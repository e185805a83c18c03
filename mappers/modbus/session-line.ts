import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { DecodedResponse, ModbusRequest } from './codec.ts'
import { confirmation, isWrite } from './codec.ts'
import { busyError, closedError, exceptionError, linkDownError, timeoutError } from './errors.ts'
import type { LineFraming } from './line-framing.ts'
import { LineReceiver } from './line-receiver.ts'
import type { LineTiming } from './line-timing.ts'
import { SessionLink } from './link.ts'
import { QuietGuard } from './quiet-guard.ts'
import type { LineOptions, LinkState, ModbusReply, ModbusSession, RequestOptions, SessionStats } from './session.ts'
import { Counters } from './stats.ts'
import type { ByteTransport, OpenTransport } from './transport.ts'

export interface LineSetup {
  /** For messages: the path or host and port. */
  readonly where: string
  readonly open: OpenTransport
  readonly framing: LineFraming
  readonly timing: LineTiming
  readonly options: LineOptions
}

export interface LineDeps {
  readonly clock: Clock
  /** For the silences between frames; finer than `clock` where that is worth something. */
  readonly lineClock: Clock
  readonly random: () => number
}

interface Job {
  readonly unit: number
  readonly request: ModbusRequest
  readonly frame: Uint8Array
  readonly timeoutMs: number
  readonly settle: { resolve(reply: ModbusReply): void; reject(reason: unknown): void }
  /** Ends the job's interest in its signal. */
  readonly forget: () => void
  tries: number
  /** The caller went away; the line still waits for the answer, so that nobody else gets it. */
  abandoned: boolean
}

interface Transaction {
  readonly job: Job
  readonly sentAtMs: number
  /** When the last character of the request has left, by the baud rate. */
  readonly requestEndMs: number
  readonly deadlineMs: number
  /** The answer, until silence confirms it. */
  answer?: { readonly decoded: DecodedResponse; readonly atMs: number }
}

/**
 * The master of a half-duplex line: one request under way, whoever asked.
 *
 * A serial answer carries no transaction number: a late one looks exactly like the answer to the next request of the
 * same shape. What is guaranteed here, for every framing:
 *
 * 1. Only bytes that came after a request was sent can be its answer, and only if unit, function, length, check sum and
 *    (reads) byte count or (writes) the echoed address and value fit.
 * 2. After a time-out, a damaged start, or an abort nothing is sent until the late answer came and was dropped, or
 *    `quietMs` passed after the deadline, and then t3.5 of silence. So **an answer that begins within
 *    `timeoutMs + quietMs` of the end of its request is never taken for another's**. `quietMs` starts at 200 ms and grows
 *    to 1.5 times the latest answer seen, up to `quietMaxMs` (2000 ms). An answer later than that bound can be mistaken
 *    only for one of the same unit, function and length. With `quietScope: 'unit'` other units, whose answers cannot be
 *    confused with it, are asked meanwhile.
 * 3. An answer counts once t3.5 of silence followed it. What repeats it before that is dropped; if another answer that
 *    fits but differs comes, neither is believed. On a line seen to keep its baud rate bytes that come while the
 *    request is still leaving are no answer either. (A unit that repeats an old answer after the silence, in just the
 *    time of the next request of the same shape, cannot be found out by anybody.)
 */
export class LineSession implements ModbusSession {
  readonly #setup: LineSetup
  readonly #clock: Clock
  readonly #lineClock: Clock
  readonly #link: SessionLink
  readonly #stats = new Counters()
  readonly #guard: QuietGuard
  readonly #receiver: LineReceiver
  readonly #queue: Job[] = []
  readonly #asked = new Set<number>()
  #transport: ByteTransport | undefined
  #current: Transaction | undefined
  #timer: Timer | undefined
  #wake: Timer | undefined
  #readyAtMs = 0
  #closed = false

  constructor(setup: LineSetup, deps: LineDeps) {
    this.#setup = setup
    this.#clock = deps.clock
    this.#lineClock = deps.lineClock
    const { options, timing } = setup
    this.#guard = new QuietGuard(options.quietMs ?? 200, options.quietMaxMs ?? 2000, options.quietScope ?? 'line')
    this.#receiver = new LineReceiver(setup.framing, timing, options.echo ?? 'auto', this.#stats)
    const hooks = {
      up: (transport: ByteTransport) => this.#up(transport),
      down: (reason: SluiceError | undefined) => this.#down(reason),
      busy: () => this.#current !== undefined || this.#queue.length > 0,
    }
    this.#link = new SessionLink(setup.open, options, hooks, deps.clock, deps.random)
  }

  get state(): LinkState {
    return this.#link.state
  }

  get stats(): SessionStats {
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
      if (this.#closed) throw closedError(this.#setup.where)
      options.signal?.throwIfAborted()
      const frame = this.#setup.framing.encode(checkUnit(unit, request), request)
      if (this.#link.isFailing) throw linkDownError(this.#setup.where, this.#link.state.reason)
      if (this.#queue.length >= (this.#setup.options.maxQueued ?? 4096)) {
        throw busyError(this.#setup.where, this.#queue.length)
      }
      const { signal } = options
      const onAbort = () => this.#abort(job, signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      const forget = () => signal?.removeEventListener('abort', onAbort)
      const settle = { resolve, reject }
      const job: Job = {
        unit,
        request,
        frame,
        timeoutMs: options.timeoutMs,
        settle,
        forget,
        tries: 0,
        abandoned: false,
      }
      this.#queue.push(job)
      this.#link.need()
      this.#pump()
    })
  }

  #up(transport: ByteTransport): void {
    this.#transport = transport
    this.#stats.connects = this.#link.connects
    this.#asked.clear()
    this.#receiver.reset()
    transport.onData((chunk) => this.#data(chunk))
    this.#pump()
  }

  #down(reason: SluiceError | undefined): void {
    this.#transport = undefined
    this.#wake?.cancel()
    this.#wake = undefined
    const error = this.#closed ? closedError(this.#setup.where) : linkDownError(this.#setup.where, reason)
    const transaction = this.#current
    if (transaction !== undefined) {
      // The unit may still answer after a quick reconnect.
      this.#guard.missed(transaction.job.unit, transaction.job.request, transaction.deadlineMs)
      this.#finish()
      this.#reject(transaction.job, error)
    }
    for (const job of this.#queue.splice(0)) this.#reject(job, error)
  }

  /** Sends the next request as soon as the line may be used. */
  #pump(): void {
    const transport = this.#transport
    if (transport === undefined || this.#current !== undefined || this.#queue.length === 0) return
    const nowMs = this.#clock.monotonic()
    const index = this.#queue.findIndex((job) => !this.#guard.holds(job.unit, nowMs))
    const startMs = Math.max(this.#readyAtMs, index < 0 ? this.#guard.freeAtMs(nowMs) : 0)
    this.#wake?.cancel()
    this.#wake = undefined
    if (startMs > nowMs) {
      this.#wake = this.#lineClock.after(startMs - nowMs, () => this.#pump())
      return
    }
    const job = this.#queue.splice(Math.max(index, 0), 1)[0]
    if (job !== undefined) void this.#send(transport, job)
  }

  async #send(transport: ByteTransport, job: Job): Promise<void> {
    const { timing, framing } = this.#setup
    const begin = () => {
      const sentAtMs = this.#clock.monotonic()
      const requestEndMs = sentAtMs + job.frame.length * timing.charMs
      const answerMs = job.unit === 0 ? 0 : framing.answerChars(job.request) * timing.charMs
      const patienceMs = job.unit === 0 ? (this.#setup.options.broadcastDelayMs ?? 100) : job.timeoutMs
      const deadlineMs = requestEndMs + patienceMs + answerMs
      return { job, sentAtMs, requestEndMs, deadlineMs }
    }
    this.#current = begin()
    if (transport.direction !== undefined) {
      await transport.direction.send()
      if (this.#transport !== transport) return
      this.#current = begin()
    }
    const transaction = this.#current
    job.tries++
    this.#stats.requests++
    this.#stats.bytesOut += job.frame.length
    this.#receiver.expect(job.unit, job.request, job.frame, transaction.requestEndMs)
    transport.write(job.frame)
    void transport.direction?.receive()
    this.#watch(transaction.deadlineMs)
  }

  #watch(atMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(Math.max(0, atMs - this.#clock.monotonic()), () => this.#overdue())
  }

  #data(chunk: Uint8Array): void {
    const nowMs = this.#clock.monotonic()
    const transaction = this.#current
    const found = this.#receiver.push(chunk, nowMs, this.#guard)
    this.#readyAtMs = this.#receiver.silentAtMs(nowMs)
    if (transaction === undefined) {
      if (this.#queue.length > 0) this.#pump()
      return
    }
    if (found !== undefined) transaction.answer = { decoded: found, atMs: nowMs }
    if (transaction.answer !== undefined) this.#confirm(transaction, transaction.answer.atMs)
    // A damaged answer is given up at the silence after it, which may well be long before the deadline.
    else if (this.#receiver.damaged) this.#watch(nowMs + this.#setup.timing.maxGapMs)
  }

  /** The silence that must pass before the next request also judges the answer: nothing else may come in it. */
  #confirm(transaction: Transaction, answeredAtMs: number): void {
    const { judgeMs, maxGapMs } = this.#setup.timing
    const quietAtMs = Math.min(this.#receiver.lastByteAtMs + judgeMs, answeredAtMs + maxGapMs)
    const silentMs = quietAtMs - this.#clock.monotonic()
    this.#timer?.cancel()
    this.#timer = undefined
    if (silentMs > 0) this.#timer = this.#lineClock.after(silentMs, () => this.#answered(transaction))
    else this.#answered(transaction)
  }

  #answered(transaction: Transaction): void {
    const { job, answer } = transaction
    if (answer === undefined) return
    const { decoded } = answer
    const wireMs = answer.atMs - transaction.sentAtMs
    const turnaroundMs = Math.max(0, this.#receiver.firstByteAtMs - transaction.requestEndMs)
    const { ambiguous } = this.#receiver
    this.#guard.answered(job.unit)
    this.#stats.learnTurnaround(job.unit, turnaroundMs)
    this.#link.proven()
    this.#asked.add(job.unit)
    this.#finish()
    if (ambiguous) {
      this.#reject(job, ambiguousError(job))
    } else if (decoded.fc === 0) {
      this.#stats.exceptions++
      this.#reject(job, exceptionError(job.unit, job.request.fc, decoded.exception))
    } else if (decoded.fc !== -1) {
      this.#stats.replies++
      job.forget()
      job.settle.resolve({ response: decoded, turnaroundMs, wireMs })
    }
    this.#pump()
  }

  #overdue(): void {
    const transaction = this.#current
    if (transaction === undefined) return
    const nowMs = this.#clock.monotonic()
    const againAtMs = this.#stillWaitingUntil(transaction)
    if (againAtMs > nowMs) {
      this.#watch(againAtMs)
      return
    }
    const { job } = transaction
    const { damaged } = this.#receiver
    this.#finish()
    if (job.unit === 0) {
      this.#broadcastDone(transaction, nowMs)
    } else if (damaged) {
      this.#stats.crcErrors++
      this.#reject(job, crcError(job))
    } else {
      this.#timedOut(transaction, nowMs)
    }
    this.#pump()
  }

  /** An answer that is just coming in is let in, damaged ones are given up after a silence. */
  #stillWaitingUntil({ job, deadlineMs }: Transaction): number {
    const { maxGapMs } = this.#setup.timing
    if (job.unit === 0) return deadlineMs
    const silentAtMs = this.#receiver.lastByteAtMs + maxGapMs
    if (this.#receiver.damaged) return Math.min(silentAtMs, deadlineMs + maxGapMs)
    return this.#receiver.length > 0 ? Math.max(deadlineMs, Math.min(silentAtMs, deadlineMs + maxGapMs)) : deadlineMs
  }

  #timedOut(transaction: Transaction, nowMs: number): void {
    const { job } = transaction
    this.#stats.timeouts++
    this.#guard.missed(job.unit, job.request, nowMs)
    this.#receiver.missed()
    const first = !this.#asked.has(job.unit)
    this.#asked.add(job.unit)
    if (this.#setup.options.retryFirstRequest && first && job.tries === 1 && !job.abandoned) this.#queue.unshift(job)
    else this.#reject(job, timeoutError(job.unit, job.request.fc, job.timeoutMs))
  }

  #broadcastDone({ job, sentAtMs }: Transaction, nowMs: number): void {
    job.forget()
    const reply = { response: confirmation(job.request), turnaroundMs: 0, wireMs: nowMs - sentAtMs }
    if (!job.abandoned) job.settle.resolve(reply)
  }

  #abort(job: Job, reason: unknown): void {
    const index = this.#queue.indexOf(job)
    if (index >= 0) this.#queue.splice(index, 1)
    job.abandoned = true
    job.settle.reject(reason)
  }

  #finish(): void {
    const transaction = this.#current
    if (transaction === undefined) return
    const nowMs = this.#clock.monotonic()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#current = undefined
    this.#stats.busyMs += (transaction.answer?.atMs ?? nowMs) - transaction.sentAtMs
    this.#readyAtMs = Math.max(this.#readyAtMs, nowMs)
    this.#receiver.rest()
  }

  #reject(job: Job, reason: SluiceError): void {
    job.forget()
    job.settle.reject(reason)
  }
}

function checkUnit(unit: number, request: ModbusRequest): number {
  if (!Number.isInteger(unit) || unit < 0 || unit > 255) {
    throw new SluiceError('SLUICE_MODBUS_BOUNDS', `unit ${unit} is not 0 to 247`)
  }
  if (unit === 0 && !isWrite(request)) {
    throw new SluiceError('SLUICE_MODBUS_BOUNDS', `function ${request.fc} to unit 0: only writes can be broadcast`, {
      hint: 'Give the number of one unit, 1 to 247.',
    })
  }
  return unit
}

function ambiguousError(job: Job): SluiceError {
  return new SluiceError(
    'SLUICE_MODBUS_BAD_RESPONSE',
    `two different answers came to one request to unit ${job.unit}, function ${job.request.fc}`,
    { hint: 'One of them is late or repeated: allow more time, or look for two units with one number.' },
  )
}

function crcError(job: Job): SluiceError {
  return new SluiceError(
    'SLUICE_MODBUS_CRC',
    `the answer of unit ${job.unit} to function ${job.request.fc} came damaged: its check sum is wrong`,
    { hint: 'Look for noise, missing termination, two units with one number, or the wrong parity.' },
  )
}
