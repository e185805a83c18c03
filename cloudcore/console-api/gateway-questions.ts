import type { Clock, Timer } from '../../api/clock.ts'
import { badLine, linesOf, MAX_REPLY_CHARS, QUESTION_STREAM, type Reply } from '../../api/console/questions.ts'
import { SluiceError } from '../../api/errors.ts'
import type { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import type { Json } from '../../api/resources.ts'
import type { StreamBroker } from '../streams/broker.ts'

export interface GatewayQuestionsOptions {
  readonly clock: Clock
  readonly streams: Pick<StreamBroker, 'dial'>
}

/** A stream that nobody asked anything for this long is let go: nobody looks at the gateway any more. */
const IDLE_MS = 30_000
const ANSWER_MS = 20_000
/** Viewers who look at the same thing within this time get the same answer, and the gateway is asked once. */
const SAME_MS = 900
const MAX_KEPT = 500

interface Waiting {
  readonly settle: PromiseWithResolvers<Json>
  readonly timer: Timer
}

/** Asks gateways what only they know, over one stream each for as long as somebody asks. */
export class GatewayQuestions implements Disposable {
  readonly #options: GatewayQuestionsOptions
  readonly #lines = new Map<string, Line>()
  readonly #kept = new Map<string, { readonly atMs: number; readonly answer: Promise<Json> }>()

  constructor(options: GatewayQuestionsOptions) {
    this.#options = options
  }

  /** Rejects with what the gateway says, or with what keeps it from being asked (SLUICE_STREAM_...). */
  ask(gateway: string, path: string, body?: Json): Promise<Json> {
    if (body !== undefined) return this.#ask(gateway, path, body)
    const nowMs = this.#options.clock.monotonic()
    const key = `${gateway} ${path}`
    const held = this.#kept.get(key)
    if (held !== undefined && nowMs - held.atMs < SAME_MS) return held.answer
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear()
    const answer = this.#ask(gateway, path, undefined)
    this.#kept.set(key, { atMs: nowMs, answer })
    answer.catch(() => this.#kept.delete(key))
    return answer
  }

  [Symbol.dispose](): void {
    for (const line of this.#lines.values()) line.end()
  }

  #ask(gateway: string, path: string, body: Json | undefined): Promise<Json> {
    let line = this.#lines.get(gateway)
    if (line === undefined) {
      const made: Line = new Line(this.#options, gateway, () => {
        if (this.#lines.get(gateway) === made) this.#lines.delete(gateway)
      })
      line = made
      this.#lines.set(gateway, line)
    }
    return line.ask(path, body)
  }
}

/** The stream to one gateway. */
class Line {
  readonly #options: GatewayQuestionsOptions
  readonly #gateway: string
  readonly #over: () => void
  readonly #stop = new AbortController()
  readonly #stream: Promise<StreamEndpoint>
  readonly #waiting = new Map<number, Waiting>()
  #last = 0
  #idle: Timer | undefined

  constructor(options: GatewayQuestionsOptions, gateway: string, over: () => void) {
    this.#options = options
    this.#gateway = gateway
    this.#over = over
    const { signal } = this.#stop
    this.#stream = options.streams.dial({ gateway, kind: QUESTION_STREAM, target: {}, signal, withinMs: 10_000 })
    this.#stream.then(
      (stream) => void this.#read(stream),
      () => over(),
    )
  }

  async ask(path: string, body: Json | undefined): Promise<Json> {
    this.#armIdle()
    const stream = await this.#stream
    const id = ++this.#last
    const settle = Promise.withResolvers<Json>()
    const timer = this.#options.clock.after(ANSWER_MS, () => {
      this.#waiting.delete(id)
      const message = `gateway '${this.#gateway}' did not answer within ${ANSWER_MS / 1000} s`
      settle.reject(new SluiceError('SLUICE_STREAM_TIMEOUT', message))
    })
    this.#waiting.set(id, { settle, timer })
    stream.channel(0).write(`${JSON.stringify({ id, path, ...(body === undefined ? {} : { body }) })}\n`)
    return settle.promise
  }

  end(): void {
    this.#idle?.cancel()
    this.#stop.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'nobody asks any more'))
  }

  async #read(stream: StreamEndpoint): Promise<void> {
    let failure: unknown
    try {
      for await (const line of linesOf(stream.channel(1), MAX_REPLY_CHARS + 1024)) this.#take(JSON.parse(line) as Reply)
    } catch (thrown) {
      failure = thrown instanceof SyntaxError ? badLine() : thrown
    }
    stream.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'nobody asks any more'))
    this.#over()
    this.#idle?.cancel()
    const lost = failure ?? new SluiceError('SLUICE_STREAM_LOST', `the stream to gateway '${this.#gateway}' ended`)
    for (const { settle, timer } of this.#waiting.values()) {
      timer.cancel()
      settle.reject(lost)
    }
    this.#waiting.clear()
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    if (waiting === undefined) return
    this.#waiting.delete(reply.id)
    waiting.timer.cancel()
    if (reply.ok) waiting.settle.resolve(reply.body)
    else {
      const { code, message, hint } = reply
      waiting.settle.reject(new SluiceError(code, message, hint === undefined ? {} : { hint }))
    }
  }

  #armIdle(): void {
    this.#idle?.cancel()
    this.#idle = this.#options.clock.after(IDLE_MS, () => this.end(), true)
  }
}
