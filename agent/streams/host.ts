import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import type { DialFrame, DialRefusedFrame } from '../../api/link/streams.ts'
import type { Json } from '../../api/resources.ts'
import type { Log } from '../log.ts'

/** One stream that the hub asked for. */
export interface StreamCall {
  readonly kind: string
  /** As it came: whoever handles the kind checks it. */
  readonly target: Json
  readonly endpoint: StreamEndpoint
  /** Call once what was asked for runs: before it, whoever asked waits, and not for ever. */
  readonly ready: () => void
  /** Aborted when the stream ended, whichever side ended it. */
  readonly signal: AbortSignal
}

/**
 * Serves one stream: calls `ready` once what was asked for runs, pipes, and resolves with the result. What it throws is
 * told to whoever asked.
 */
export type StreamHandler = (call: StreamCall) => Promise<Json>

/** Opens the WebSocket of one dial. Rejects with SLUICE_STREAM_REFUSED or SLUICE_STREAM_UNREACHABLE. */
export type OpenStream = (dial: DialFrame, signal: AbortSignal) => Promise<StreamEndpoint>

export interface StreamHostOptions {
  readonly clock: Clock
  readonly log: Log
  readonly open: OpenStream
  /** The handler of a kind, loaded when it is first asked for; undefined where this gateway has none. */
  readonly handler: (kind: string) => Promise<StreamHandler | undefined>
  /** At a time. Default 64. */
  readonly maxStreams?: number
}

const DEFAULT_MAX_STREAMS = 64

/** Every stream that is open at this gateway. Lives beside the link, not in it: streams outlive its reconnects. */
export class StreamHost implements AsyncDisposable {
  readonly #options: StreamHostOptions
  readonly #running = new Map<string, { readonly stop: AbortController; readonly ended: Promise<void> }>()

  constructor(options: StreamHostOptions) {
    this.#options = options
  }

  get open(): number {
    return this.#running.size
  }

  /** A dial came; one that came before (the link broke in between) is left alone. */
  dial(frame: DialFrame, refuse: (refusal: DialRefusedFrame) => void): void {
    if (this.#running.has(frame.id)) return
    const most = this.#options.maxStreams ?? DEFAULT_MAX_STREAMS
    if (this.#running.size >= most) {
      const error = new SluiceError('SLUICE_STREAM_TOO_MANY', `${most} streams are open at this gateway`, {
        hint: 'End some of them, or try again later.',
      })
      refuse(refusal(frame.id, error))
      return
    }
    const stop = new AbortController()
    const ended = this.#serve(frame, refuse, stop)
      .catch((thrown: unknown) => {
        const { code, message } = toSluiceError(thrown)
        this.#options.log('debug', `A stream could not be served: ${message}`, { code, kind: frame.kind })
      })
      .finally(() => this.#running.delete(frame.id))
    this.#running.set(frame.id, { stop, ended })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = [...this.#running.values()]
    for (const { stop } of running) {
      stop.abort(new SluiceError('SLUICE_STREAM_CLOSING', 'the agent of the gateway stops'))
    }
    await Promise.all(running.map(({ ended }) => ended))
  }

  async #serve(frame: DialFrame, refuse: (refusal: DialRefusedFrame) => void, stop: AbortController): Promise<void> {
    const { clock, handler, open } = this.#options
    const limit = clock.after(frame.withinMs, () => stop.abort(tooLate(frame)), true)
    let endpoint: StreamEndpoint
    let handle: StreamHandler | undefined
    try {
      handle = await handler(frame.kind)
      if (handle === undefined) throw unknownKind(frame.kind)
      endpoint = await open(frame, stop.signal)
    } catch (thrown) {
      limit.cancel()
      refuse(refusal(frame.id, toSluiceError(thrown)))
      return
    }
    endpoint.outcome
      .catch(() => {})
      .finally(() => stop.abort(new SluiceError('SLUICE_STREAM_LOST', 'the stream is over')))
    stop.signal.addEventListener('abort', () => endpoint.fail(stop.signal.reason), { once: true })
    try {
      const { kind, target } = frame
      const ready = () => {
        limit.cancel()
        endpoint.ready()
      }
      await endpoint.done(await handle({ kind, target, endpoint, ready, signal: stop.signal }))
    } catch (thrown) {
      endpoint.fail(thrown)
    } finally {
      limit.cancel()
    }
  }
}

const refusal = (id: string, { code, message, hint }: SluiceError): DialRefusedFrame => ({
  t: 'dialRefused',
  id,
  code,
  message: message.slice(0, 4096),
  ...(hint === undefined ? {} : { hint: hint.slice(0, 1024) }),
})

const tooLate = (frame: DialFrame) =>
  new SluiceError('SLUICE_STREAM_TIMEOUT', `the gateway could not start '${frame.kind}' within ${frame.withinMs} ms`)

const unknownKind = (kind: string) =>
  new SluiceError('SLUICE_STREAM_KIND', `this gateway serves no streams of kind '${kind.slice(0, 63)}'`, {
    hint: 'Start its agent with a container runtime, or update it.',
  })
