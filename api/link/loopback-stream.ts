import { type Clock, systemClock } from '../clock.ts'
import { StreamEndpoint, type StreamSocket } from './stream-endpoint.ts'

/** Two ends of a stream without a network between them: for whoever sits at the gateway itself. */
export function loopbackStream(clock: Clock = systemClock): readonly [StreamEndpoint, StreamEndpoint] {
  const there = new Direction()
  const back = new Direction()
  const one = new StreamEndpoint(socketOf(there, back), clock)
  const other = new StreamEndpoint(socketOf(back, there), clock)
  there.to = other
  back.to = one
  return [one, other]
}

/** Messages on their way to one end, which may ask for a pause. */
class Direction {
  to: StreamEndpoint | undefined
  bytes = 0
  readonly #queue: { readonly message: Uint8Array | string; readonly sent: () => void }[] = []
  #paused = false
  #closed = false
  #scheduled = false

  push(message: Uint8Array | string, sent: () => void): void {
    this.bytes += message.length
    this.#queue.push({ message, sent })
    this.#schedule()
  }

  pause(paused: boolean): void {
    this.#paused = paused
    this.#schedule()
  }

  /** What was sent before still arrives. */
  close(): void {
    this.#closed = true
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#paused) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    while (!this.#paused) {
      const next = this.#queue.shift()
      if (next === undefined) break
      this.bytes -= next.message.length
      // The sender may use its buffer again.
      this.to?.receive(typeof next.message === 'string' ? next.message : next.message.slice())
      next.sent()
    }
    if (this.#closed && this.#queue.length === 0) this.to?.closed('the other side closed it')
  }
}

const socketOf = (out: Direction, into: Direction): StreamSocket => ({
  send: (message, sent) => out.push(message, sent),
  get bufferedBytes() {
    return out.bytes
  },
  pause: () => into.pause(true),
  resume: () => into.pause(false),
  close: () => out.close(),
  ping: () => out.to?.heard(),
})
