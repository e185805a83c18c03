import type { DecodedResponse, ModbusRequest } from './codec.ts'
import type { LineFraming } from './line-framing.ts'
import type { LineTiming } from './line-timing.ts'
import type { QuietGuard } from './quiet-guard.ts'
import type { Counters } from './stats.ts'

/** Several frames of noise and the answer; more than that at once is noise. */
const capacity = 1024
/** Answers in a row that kept to the baud rate before the line is trusted to. */
const pacedAfter = 8
/** A line that never falls silent is sent on all the same after this long. */
const babbleMs = 2000

interface Expectation {
  readonly unit: number
  readonly request: ModbusRequest
  readonly frame: Uint8Array
  readonly requestEndMs: number
}

interface Cut {
  readonly frame: Uint8Array
  readonly decoded: DecodedResponse
}

/** Finds answers in what a half-duplex line delivers: cut anywhere, echoed, repeated, late, or between garbage. */
export class LineReceiver {
  readonly #framing: LineFraming
  readonly #timing: LineTiming
  readonly #stats: Counters
  readonly #autoEcho: boolean
  readonly #bytes = new Uint8Array(capacity)
  #length = 0
  #damaged = false
  #expected: Expectation | undefined
  #previous: Expectation | undefined
  #lastByteAtMs = Number.NEGATIVE_INFINITY
  #noiseSinceMs = 0
  #answer: Uint8Array | undefined
  #ambiguous = false
  #echo: boolean
  #echoDone = false
  #firstByteAtMs: number | undefined
  #pacedAnswers = 0
  #unpaced = false
  #earlyDropped = false
  #earlyMisses = 0

  constructor(framing: LineFraming, timing: LineTiming, echo: boolean | 'auto', stats: Counters) {
    this.#framing = framing
    this.#timing = timing
    this.#stats = stats
    this.#autoEcho = echo === 'auto'
    this.#echo = echo === true
    this.#unpaced = timing.charMs === 0
  }

  /** Bytes that came and are nothing yet. */
  get length(): number {
    return this.#length
  }

  /** The answer is there in full length and its check sum is wrong. */
  get damaged(): boolean {
    return this.#damaged
  }

  /** Before the line fell silent a second, different answer to the same request came: either may be the late one. */
  get ambiguous(): boolean {
    return this.#ambiguous
  }

  get lastByteAtMs(): number {
    return this.#lastByteAtMs
  }

  /** When the first byte of the answer came on the wire, for the request expected last. */
  get firstByteAtMs(): number {
    return this.#firstByteAtMs ?? this.#lastByteAtMs
  }

  /** Everything that came before is no answer to this request. */
  expect(unit: number, request: ModbusRequest, frame: Uint8Array, requestEndMs: number): void {
    this.#flush()
    this.#expected = { unit, request, frame, requestEndMs }
    this.#echoDone = false
    this.#earlyDropped = false
    this.#firstByteAtMs = undefined
    this.#answer = undefined
    this.#ambiguous = false
  }

  /** The transaction is over; what still comes is late, repeated or noise. */
  rest(): void {
    if (this.#expected !== undefined) this.#previous = this.#expected
    this.#expected = undefined
    this.#damaged = false
  }

  /** The request expected last got no answer. */
  missed(): void {
    if (!this.#earlyDropped || ++this.#earlyMisses < 2) return
    // Perhaps the line does not keep its baud rate after all (USB devices need not): never judge by it again.
    this.#unpaced = true
  }

  reset(): void {
    this.#flush()
    this.#expected = undefined
    this.#previous = undefined
  }

  /** From when on the line may be sent on, given that a byte came at `nowMs`. */
  silentAtMs(nowMs: number): number {
    return nowMs - this.#noiseSinceMs > babbleMs ? nowMs : nowMs + this.#timing.silenceMs
  }

  /** Takes in bytes; returns the answer to the expected request once it is there, and compares what follows with it. */
  push(chunk: Uint8Array, nowMs: number, guard: QuietGuard): DecodedResponse | undefined {
    this.#stats.bytesIn += chunk.length
    const pauseMs = nowMs - this.#lastByteAtMs
    if (pauseMs > this.#timing.maxGapMs) this.#flush()
    if (pauseMs > this.#timing.silenceMs + chunk.length * this.#timing.charMs) this.#noiseSinceMs = nowMs
    this.#lastByteAtMs = nowMs
    const expected = this.#expected
    if (expected !== undefined && this.#isTooEarly(expected, nowMs)) {
      this.#earlyDropped = true
      this.#stats.garbageBytes += chunk.length
      return undefined
    }
    this.#append(chunk)
    if (expected !== undefined && this.#isEcho(expected)) return undefined
    if (this.#length === 0) return undefined
    this.#firstByteAtMs ??= nowMs - this.#length * this.#timing.charMs
    if (expected === undefined) {
      this.#dropLate(nowMs, guard)
      if (this.#previous !== undefined && this.#cut(this.#previous) !== undefined) this.#stats.lateFramesDropped++
      return undefined
    }
    const answer = this.#answer === undefined ? this.#firstAnswer(expected, nowMs) : undefined
    while (this.#answer !== undefined && this.#length > 0 && this.#isRepeated(expected, this.#answer)) {}
    if (answer === undefined) this.#dropLate(nowMs, guard)
    return answer
  }

  #firstAnswer(expected: Expectation, nowMs: number): DecodedResponse | undefined {
    const cut = this.#cut(expected)
    if (cut === undefined) return undefined
    this.#answer = cut.frame
    this.#learnPace(expected, nowMs)
    return cut.decoded
  }

  /** Takes one more answer to the same request away, if there is one. */
  #isRepeated(expected: Expectation, answer: Uint8Array): boolean {
    const cut = this.#cut(expected)
    if (cut === undefined) return false
    this.#stats.lateFramesDropped++
    if (Buffer.compare(cut.frame, answer) !== 0) this.#ambiguous = true
    return true
  }

  /** Removes the answer to `expectation` and what stood before it. */
  #cut(expectation: { readonly unit: number; readonly request: ModbusRequest }): Cut | undefined {
    const scan = this.#framing.scan(this.#bytes, this.#length, expectation.unit, expectation.request)
    this.#damaged = scan.kind === 'damaged'
    if (scan.kind !== 'answer') return undefined
    this.#count(scan.start)
    const frame = this.#bytes.slice(scan.start, scan.end)
    this.#bytes.copyWithin(0, scan.end, this.#length)
    this.#length -= scan.end
    return { frame, decoded: scan.decoded }
  }

  #dropLate(nowMs: number, guard: QuietGuard): void {
    if (guard.size === 0) return
    const damaged = this.#damaged
    for (const [unit, { request }] of guard.entries()) {
      if (this.#cut({ unit, request }) === undefined) continue
      this.#stats.lateFramesDropped++
      guard.cameLate(unit, nowMs)
    }
    this.#damaged = damaged && this.#length > 0
  }

  #isTooEarly(expected: Expectation, nowMs: number): boolean {
    if (this.#unpaced || this.#echo || this.#pacedAnswers < pacedAfter) return false
    return nowMs < expected.requestEndMs - this.#timing.charMs
  }

  #learnPace(expected: Expectation, nowMs: number): void {
    this.#earlyMisses = 0
    const firstSeenMs = this.#firstByteAtMs ?? nowMs
    if (firstSeenMs < expected.requestEndMs - 2 * this.#timing.charMs) this.#unpaced = true
    else this.#pacedAnswers++
  }

  /** Takes the adapter's echo of the request away; true while it is still coming. */
  #isEcho({ request, frame }: Expectation): boolean {
    if (this.#echoDone || !(this.#echo || (this.#autoEcho && !repeatsRequest(request)))) return false
    const common = Math.min(this.#length, frame.length)
    for (let at = 0; at < common; at++) {
      if (this.#bytes[at] === frame[at]) continue
      this.#echoDone = true
      if (this.#autoEcho) this.#echo = false
      return false
    }
    if (this.#length < frame.length) return this.#echo
    this.#echoDone = true
    this.#echo = true
    this.#bytes.copyWithin(0, frame.length, this.#length)
    this.#length -= frame.length
    this.#firstByteAtMs = undefined
    return false
  }

  #append(chunk: Uint8Array): void {
    const part = chunk.length > capacity ? chunk.subarray(chunk.length - capacity) : chunk
    const excess = Math.max(0, this.#length + part.length - capacity)
    if (excess > 0) {
      this.#stats.garbageBytes += excess
      this.#bytes.copyWithin(0, excess, this.#length)
      this.#length -= excess
    }
    this.#bytes.set(part, this.#length)
    this.#length += part.length
  }

  #flush(): void {
    this.#count(this.#length)
    this.#length = 0
    this.#damaged = false
  }

  #count(length: number): void {
    if (length === 0) return
    if (this.#framing.isFrame(this.#bytes, length)) this.#stats.strayFrames++
    else this.#stats.garbageBytes += length
  }
}

/** The answer to these writes is the request over again, so an echo cannot be told from it. */
function repeatsRequest(request: ModbusRequest): boolean {
  return request.fc === 5 || request.fc === 6 || request.fc === 22
}
