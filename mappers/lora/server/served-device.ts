import type { Timer } from '../../../api/clock.ts'
import type { LoraDevice } from '../device-config.ts'
import type { MacCommand, MacName } from '../mac-commands.ts'
import type { Downlink, DownlinkEnd } from '../network.ts'
import { AdrHistory } from './adr.ts'
import type { Copies } from './dedup.ts'
import type { DevNonces, Session } from './session.ts'

/** Downlinks that wait for one device at most. */
export const MAX_QUEUE = 16
/** Times a confirmed downlink is sent before it counts as refused by silence. */
export const MAX_ATTEMPTS = 3

export interface QueuedDownlink {
  readonly downlink: Downlink
  attempts: number
  sentAtMs: number | undefined
  readonly end: (end: DownlinkEnd) => void
}

/** What was heard last, for the windows that follow it and for guessing when the next come. */
export interface LastUplink {
  readonly copies: Copies
  readonly atMs: number
  readonly atMonoMs: number
  readonly dr: number
}

/** MAC requests on their way: what is asked, and how often it was. */
export interface Asked {
  readonly commands: readonly MacCommand[]
  attempts: number
  /** False until it went on the air: what was composed and not sent is composed again. */
  sent: boolean
}

/** One device of the network server while it runs. */
export class ServedDevice {
  device: LoraDevice
  session: Session | undefined
  /** The keys of `session` as another gateway gets them; made when they are first told. */
  sealed: string | undefined
  readonly nonces: DevNonces
  readonly adr = new AdrHistory()
  readonly queue: QueuedDownlink[] = []
  /** Sent and not yet acknowledged. */
  awaiting: QueuedDownlink | undefined
  ackTimer: Timer | undefined
  last: LastUplink | undefined
  /** Smoothed time between uplinks, milliseconds. */
  intervalMs: number | undefined
  /** Repeats of the last uplink that were answered. */
  repeats = 0
  readonly asked = new Map<MacName, Asked>()
  /** Time on the air of everything sent to it. */
  sentAirtimeMs = 0
  /** A downlink is being placed: nothing else may take the counter meanwhile. */
  sending = false

  constructor(device: LoraDevice, session: Session | undefined, nonces: DevNonces) {
    this.device = device
    this.session = session
    this.nonces = nonces
  }

  heard(last: LastUplink): void {
    if (this.last !== undefined) {
      const gap = last.atMonoMs - this.last.atMonoMs
      if (gap > 500)
        this.intervalMs = this.intervalMs === undefined ? gap : this.intervalMs + (gap - this.intervalMs) / 4
    }
    this.last = last
  }

  /** When the device should listen next, milliseconds since 1970. */
  nextWindowAtMs(nowMs: number): number | undefined {
    if (this.device.deviceClass === 'C') return nowMs
    const every = this.device.everyMs ?? this.intervalMs
    if (every === undefined || this.last === undefined) return undefined
    const delayMs = (this.session?.radio.rx1Delay ?? 1) * 1000
    const missed = Math.max(0, Math.floor((nowMs - this.last.atMs) / every))
    return this.last.atMs + (missed + 1) * every + delayMs
  }

  /** Everything that waits ends. */
  drop(end: DownlinkEnd): void {
    this.ackTimer?.cancel()
    for (const queued of [...this.queue, ...(this.awaiting === undefined ? [] : [this.awaiting])]) queued.end(end)
    this.queue.length = 0
    this.awaiting = undefined
  }
}
