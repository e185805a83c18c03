import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** How long what is passed on may be held up, ms. */
const MOST_DELAY_MS = 40
/** TCP makes of a lost packet a pause; a connection that lost too many is reset. */
const LOST_PAUSE_MS = 250
const RESET_SHARE = 0.15

/**
 * A bad way in user space, since not every kernel can make one: what it carries is held up, for longer where a packet was
 * lost, and now and then the connection is gone. What is lost, and when, comes from a seed.
 */
export class LossyRelay implements AsyncDisposable {
  readonly #server: Server
  readonly #random: () => number
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  /** Share of pieces that are lost, 0 to 1. */
  loss = 0
  resets = 0
  #unplugged = false

  private constructor(server: Server, target: number, seed: number) {
    this.#server = server
    this.#random = seeded(seed)
    server.on('connection', (client: Socket) => {
      if (this.#unplugged) {
        client.resetAndDestroy()
        return
      }
      const upstream = connect(target, '127.0.0.1')
      const pair = [client, upstream] as const
      this.#pairs.add(pair)
      const end = () => {
        this.#pairs.delete(pair)
        client.destroy()
        upstream.destroy()
      }
      for (const socket of pair) socket.on('error', () => {}).on('close', end)
      this.#carry(client, upstream, end)
      this.#carry(upstream, client, end)
    })
  }

  static async open(target: number, host: string, seed: number): Promise<LossyRelay> {
    const server = createServer()
    const relay = new LossyRelay(server, target, seed)
    server.listen(0, host)
    await once(server, 'listening')
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get unplugged(): boolean {
    return this.#unplugged
  }

  /** While unplugged nobody gets through. */
  set unplugged(value: boolean) {
    this.#unplugged = value
    if (value) this.cut()
  }

  cut(): void {
    for (const [client, upstream] of this.#pairs) {
      client.destroy()
      upstream.destroy()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  #carry(from: Socket, to: Socket, end: () => void): void {
    from.on('data', (bytes: Buffer) => {
      if (this.loss === 0) {
        to.write(bytes)
        return
      }
      const lost = this.#random() < this.loss
      if (lost && this.#random() < RESET_SHARE) {
        this.resets++
        end()
        return
      }
      // Order is kept: nothing more is read until this is passed on.
      from.pause()
      setTimeout(
        () => {
          if (!to.destroyed) to.write(bytes)
          from.resume()
        },
        this.#random() * MOST_DELAY_MS + (lost ? LOST_PAUSE_MS : 0),
      )
    })
  }
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
