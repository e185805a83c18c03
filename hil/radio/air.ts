import type { Clock, Timer } from '../../api/clock.ts'

/** How well two antennas hear each other. */
export interface Path {
  /** What the receiver measures, dBm; below `SENSITIVITY_DBM` nothing arrives at all. */
  readonly rssiDbm: number
  /** Time from one antenna to the other's host, milliseconds. */
  readonly latencyMs: number
  /**
   * Share of packets lost, 0 to 1. A lost advertisement is gone; a lost data packet is sent again by the link layer at
   * the next connection event, so that it comes late and the ones behind it too.
   */
  readonly loss: number
}

export const SENSITIVITY_DBM = -100
const DEFAULT_PATH: Path = { rssiDbm: -60, latencyMs: 0, loss: 0 }

/** One thing that somebody sends to whoever listens. */
export interface Broadcast {
  /** Advertising PDU type: 0 connectable, 2 scannable, 3 not connectable. */
  readonly type: number
  readonly mac: string
  readonly random: boolean
  /** AD structures, up to 31 bytes (more is passed on as it is). */
  readonly data: Uint8Array
  readonly scanResponse?: Uint8Array
}

/** What stands on the air and listens. */
export interface Listener {
  readonly name: string
  heard(broadcast: Broadcast, from: string, rssiDbm: number): void
  /** A path changed: links that depend on it may be lost now. */
  pathChanged?(): void
}

export interface Beacon {
  readonly mac: string
  readonly random?: boolean
  /** Asked for every advertisement, so that it may change. */
  readonly data: (count: number) => Uint8Array
  readonly intervalMs: number
  readonly type?: number
}

/**
 * The medium between all antennas. Everything on it happens by the given clock and the given chance, so that a test
 * sees the same air every time. Antennas have names; a path may be set for each pair of them.
 */
export class Air {
  readonly clock: Clock
  readonly random: () => number
  readonly #listeners = new Set<Listener>()
  readonly #paths = new Map<string, Path>()
  readonly #timers = new Set<Timer>()
  #closed = false

  constructor(clock: Clock, random: () => number) {
    this.clock = clock
    this.random = random
  }

  /** Sets how `a` and `b` hear each other, both ways. */
  path(a: string, b: string, path: Partial<Path>): void {
    this.#paths.set(pairOf(a, b), { ...this.between(a, b), ...path })
    for (const listener of this.#listeners) listener.pathChanged?.()
  }

  between(a: string, b: string): Path {
    return this.#paths.get(pairOf(a, b)) ?? DEFAULT_PATH
  }

  inRange(a: string, b: string): boolean {
    const path = this.between(a, b)
    return path.rssiDbm >= SENSITIVITY_DBM && path.loss < 1
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** One advertising event: everybody in range who is lucky hears it. */
  broadcast(from: string, broadcast: Broadcast): void {
    for (const listener of this.#listeners) {
      if (listener.name === from || !this.inRange(from, listener.name)) continue
      const { rssiDbm, latencyMs, loss } = this.between(from, listener.name)
      if (loss > 0 && this.random() < loss) continue
      if (latencyMs > 0) this.after(latencyMs, () => listener.heard(broadcast, from, rssiDbm))
      else listener.heard(broadcast, from, rssiDbm)
    }
  }

  /** An advertiser without a host. Ends when called. */
  beacon(beacon: Beacon): () => void {
    let count = 0
    let timer: Timer | undefined
    let ended = false
    const next = (delayMs: number) => {
      timer = this.after(delayMs, () => {
        if (ended) return
        this.broadcast(beacon.mac, {
          type: beacon.type ?? 3,
          mac: beacon.mac,
          random: beacon.random ?? false,
          data: beacon.data(count++),
        })
        next(beacon.intervalMs)
      })
    }
    next(this.random() * beacon.intervalMs)
    return () => {
      ended = true
      timer?.cancel()
    }
  }

  after(delayMs: number, fn: () => void): Timer {
    if (this.#closed) return { cancel: () => undefined }
    const timer = this.clock.after(delayMs, () => {
      this.#timers.delete(handle)
      fn()
    })
    const handle: Timer = {
      cancel: () => {
        timer.cancel()
        this.#timers.delete(handle)
      },
    }
    this.#timers.add(handle)
    return handle
  }

  close(): void {
    this.#closed = true
    for (const timer of [...this.#timers]) timer.cancel()
    this.#listeners.clear()
  }
}

const pairOf = (a: string, b: string) => (a < b ? `${a}|${b}` : `${b}|${a}`)
