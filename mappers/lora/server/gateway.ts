import type { Modulation } from '../airtime.ts'

/** What a gateway needs to place an answer in time after a frame it received. Opaque to everything but its backend. */
export type ReceiveContext =
  | { readonly via: 'udp' /** Concentrator microseconds, 32 bits, wraps. */; readonly tmst: number }
  | {
      readonly via: 'station'
      /** 64-bit integers as their digits: a JSON number cannot hold them. */
      readonly xtime: string
      readonly rctx: string
    }

/** One frame as one gateway received it. */
export interface Heard {
  /** EUI of the gateway, 16 hexadecimal digits, upper case. */
  readonly gateway: string
  readonly phy: Uint8Array
  readonly rssiDbm: number
  readonly snrDb: number
  readonly frequencyHz: number
  /** Absent for FSK. */
  readonly modulation?: Modulation
  /** Monotonic milliseconds. */
  readonly atMonoMs: number
  readonly context: ReceiveContext
}

/** One frame to send through one gateway. */
export interface Transmission {
  readonly gateway: string
  readonly devEui: string
  readonly phy: Uint8Array
  /** In the receive windows after an uplink, or at once to a device that always listens (class C). */
  readonly when:
    | { readonly window: 1 | 2; readonly rx1DelayS: number; readonly context: ReceiveContext }
    | { readonly window: 'now' }
  readonly frequencyHz: number
  readonly modulation: Modulation
  readonly dr: number
  readonly powerDbm: number
}

export type SendResult = { readonly sent: true } | { readonly sent: false; readonly reason: string }

/** A way gateways reach us. */
export interface GatewayBackend extends AsyncDisposable {
  /** Where it listens, once it does. */
  readonly listening: Promise<{ readonly host: string; readonly port: number }>
  /** Whether a downlink through this gateway can be tried now. */
  reaches(gateway: string): boolean
  send(transmission: Transmission): Promise<SendResult>
}

export interface BackendEvents {
  heard(frames: readonly Heard[]): void
  /** A gateway was heard from; `facts` are what it tells of itself. */
  alive(gateway: string, facts?: Readonly<Record<string, string>>): void
  gone(gateway: string, reason: string): void
  /** Something came that is not what was expected: counted by `kind`, told now and then. */
  problem(kind: string, reason: string, from: string): void
}

/** @returns false for EUIs that are not on the list; an absent list admits all. */
export const admits = (list: ReadonlySet<string> | undefined, gateway: string): boolean =>
  list === undefined || list.has(gateway)
