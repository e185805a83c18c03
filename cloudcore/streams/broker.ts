import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import type { DialFrame, DialRefusedFrame } from '../../api/link/streams.ts'
import type { Json } from '../../api/resources.ts'

export interface StreamBrokerOptions {
  readonly clock: Clock
  /** Hands a dial to the gateway's link; false while there is none. Undefined: its agent opens no streams. */
  readonly send: (gateway: string, frame: DialFrame) => boolean | undefined
  /** Open or being opened at a time. Default 256 a gateway, 4 096 in all. */
  readonly maxPerGateway?: number
  readonly maxStreams?: number
}

export interface DialRequest {
  readonly gateway: string
  readonly kind: string
  readonly target: Json
  readonly signal: AbortSignal
  /** Until what was asked for runs. Default 30 s. */
  readonly withinMs?: number
}

interface Pending {
  readonly request: DialRequest
  readonly frame: DialFrame
  readonly settle: PromiseWithResolvers<StreamEndpoint>
  readonly limit: Timer
  waiting: Timer | undefined
  sent: boolean
}

const DEFAULT_WITHIN_MS = 30_000
/** How long a stream waits for a gateway whose link is down: it may just be reconnecting. */
const LINK_WAIT_MS = 3_000

/** Asks gateways for streams and gives what they open to whoever asked. One dial, one secret, one stream. */
export class StreamBroker implements Disposable {
  readonly #options: StreamBrokerOptions
  readonly #pending = new Map<string, Pending>()
  readonly #open = new Map<StreamEndpoint, string>()
  readonly #counts = new Map<string, number>()
  #total = 0
  #closed = false

  constructor(options: StreamBrokerOptions) {
    this.#options = options
  }

  /** Streams that are open now. */
  get open(): number {
    return this.#open.size
  }

  /**
   * Resolves with a stream on which the gateway said that what was asked for runs. Rejects with what the gateway
   * refused it for, SLUICE_STREAM_NO_LINK, _UNSUPPORTED, _TOO_MANY, _TIMEOUT or the signal's reason. Aborting the
   * signal later ends the stream.
   */
  async dial(request: DialRequest): Promise<StreamEndpoint> {
    const { gateway, signal } = request
    signal.throwIfAborted()
    this.#take(gateway)
    let endpoint: StreamEndpoint
    try {
      endpoint = await this.#opened(request)
    } catch (thrown) {
      this.#give(gateway)
      throw thrown
    }
    this.#open.set(endpoint, gateway)
    const abort = () => endpoint.fail(reasonOf(signal))
    signal.addEventListener('abort', abort, { once: true })
    void endpoint.outcome
      .catch(() => {})
      .then(() => {
        signal.removeEventListener('abort', abort)
        this.#open.delete(endpoint)
        this.#give(gateway)
      })
    if (signal.aborted) abort()
    await endpoint.opened
    return endpoint
  }

  /** A gateway's link is up (again): what waits for it is asked for now, or once more. */
  connected(gateway: string): void {
    for (const pending of this.#pending.values()) if (pending.request.gateway === gateway) this.#ask(pending)
  }

  refused(gateway: string, { id, code, message, hint }: DialRefusedFrame): void {
    const pending = this.#pending.get(id)
    if (pending?.request.gateway !== gateway) return
    this.#drop(pending, new SluiceError(code, message, hint === undefined ? {} : { hint }))
  }

  /** Takes the dial that a gateway answers, so that nobody else can; throws SLUICE_STREAM_UNKNOWN. */
  admit(gateway: string, id: string, secret: string): (endpoint: StreamEndpoint) => void {
    const pending = this.#pending.get(id)
    if (pending === undefined || pending.request.gateway !== gateway || !same(pending.frame.secret, secret)) {
      throw new SluiceError('SLUICE_STREAM_UNKNOWN', 'nobody waits for this stream (any more)')
    }
    this.#pending.delete(id)
    pending.waiting?.cancel()
    return (endpoint) => {
      const stop = () => endpoint.fail(reasonOf(pending.request.signal))
      pending.request.signal.addEventListener('abort', stop, { once: true })
      void endpoint.opened.then(
        () => pending.settle.resolve(endpoint),
        (error: unknown) => pending.settle.reject(error),
      )
      void pending.settle.promise
        .catch((error: unknown) => endpoint.fail(error))
        .finally(() => {
          pending.limit.cancel()
          pending.request.signal.removeEventListener('abort', stop)
        })
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true
    const error = new SluiceError('SLUICE_STREAM_CLOSING', 'the cloud core stops')
    for (const pending of [...this.#pending.values()]) this.#drop(pending, error)
    for (const endpoint of [...this.#open.keys()]) endpoint.fail(error)
  }

  #opened(request: DialRequest): Promise<StreamEndpoint> {
    const { clock } = this.#options
    const { kind, target, signal, withinMs = DEFAULT_WITHIN_MS } = request
    const settle = Promise.withResolvers<StreamEndpoint>()
    const id = randomBytes(16).toString('base64url')
    const secret = randomBytes(32).toString('base64url')
    const frame: DialFrame = { t: 'dial', id, secret, kind, target, withinMs }
    const limit = clock.after(
      withinMs,
      () => {
        const error = timedOut(request, withinMs)
        this.#drop(pending, error)
        settle.reject(error)
      },
      true,
    )
    const pending: Pending = { request, frame, settle, limit, waiting: undefined, sent: false }
    this.#pending.set(id, pending)
    const abort = () => this.#drop(pending, reasonOf(signal))
    signal.addEventListener('abort', abort, { once: true })
    this.#ask(pending)
    return settle.promise.finally(() => signal.removeEventListener('abort', abort))
  }

  #ask(pending: Pending): void {
    const { clock, send } = this.#options
    const { gateway } = pending.request
    const sent = send(gateway, pending.frame)
    if (sent === undefined) {
      const message = `the agent of gateway '${gateway}' opens no streams`
      this.#drop(pending, new SluiceError('SLUICE_STREAM_UNSUPPORTED', message, { hint: 'Update the agent.' }))
      return
    }
    if (sent) {
      pending.waiting?.cancel()
      pending.waiting = undefined
      return
    }
    pending.waiting ??= clock.after(LINK_WAIT_MS, () => this.#drop(pending, noLink(gateway)), true)
  }

  #drop(pending: Pending, error: unknown): void {
    if (!this.#pending.delete(pending.frame.id)) return
    pending.waiting?.cancel()
    pending.limit.cancel()
    pending.settle.reject(error)
  }

  #take(gateway: string): void {
    if (this.#closed) throw new SluiceError('SLUICE_STREAM_CLOSING', 'the cloud core stops')
    const { maxPerGateway = 256, maxStreams = 4096 } = this.#options
    const count = this.#counts.get(gateway) ?? 0
    if (count >= maxPerGateway || this.#total >= maxStreams) {
      const message = `${count} streams to gateway '${gateway}' and ${this.#total} in all are open, no more are allowed`
      throw new SluiceError('SLUICE_STREAM_TOO_MANY', message, { hint: 'End some of them, or try again later.' })
    }
    this.#counts.set(gateway, count + 1)
    this.#total++
  }

  #give(gateway: string): void {
    const count = (this.#counts.get(gateway) ?? 1) - 1
    if (count === 0) this.#counts.delete(gateway)
    else this.#counts.set(gateway, count)
    this.#total--
  }
}

function same(secret: string, shown: string): boolean {
  const [a, b] = [Buffer.from(secret), Buffer.from(shown)]
  return a.length === b.length && timingSafeEqual(a, b)
}

const reasonOf = (signal: AbortSignal): SluiceError =>
  signal.reason instanceof SluiceError
    ? signal.reason
    : new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever asked for the stream went away')

const noLink = (gateway: string) =>
  new SluiceError('SLUICE_STREAM_NO_LINK', `gateway '${gateway}' is not connected`, {
    hint: 'Look at it with `kubectl get gateways`; what it keeps offline it keeps.',
  })

const timedOut = ({ gateway, kind }: DialRequest, withinMs: number) =>
  new SluiceError('SLUICE_STREAM_TIMEOUT', `gateway '${gateway}' did not start '${kind}' within ${withinMs} ms`)
