import type { HeardBy } from '../../api/link/messages.ts'
import type { Json, ObjectKey } from '../../api/resources.ts'
import type { LinkStats } from '../sdk/mapper.ts'
import type { LoraDevice } from './device-config.ts'

/** What the radio said about one uplink. */
export interface RadioFacts {
  readonly rssiDbm?: number
  readonly snrDb?: number
  readonly spreadingFactor?: number
  /** How many gateways heard it. */
  readonly gateways?: number
  /** Which ones, best first, the first eight. */
  readonly heardBy?: readonly HeardBy[]
  readonly airtimeMs?: number
  readonly frequencyHz?: number
}

/** One uplink of a known device: authentic, decrypted and seen for the first time. */
export interface Uplink {
  readonly device: ObjectKey
  /** When it was received, milliseconds since 1970. */
  readonly atMs: number
  readonly fCnt: number
  /** Absent when the frame carried no application payload. */
  readonly port?: number
  readonly payload: Uint8Array
  /** What the network server's own codec made of it. */
  readonly object?: Json
  readonly radio: RadioFacts
}

/** What DevStatusAns says. */
export interface DeviceStatusNews {
  readonly device: ObjectKey
  readonly atMs: number
  /** 0 to 100; absent when the device cannot tell or is powered from outside. */
  readonly batteryPercent?: number
  readonly externalPower?: boolean
  /** dB of signal to noise the last request had to spare, -32 to 31. */
  readonly marginDb?: number
}

/** Something that should not happen, with a device it concerns. */
export interface Trouble {
  readonly device: ObjectKey
  /** `mic`, `replay`, `join-mic`, `join-replay`, `no-payload`, ... */
  readonly kind: string
  readonly reason: string
  readonly atMs: number
}

export interface NetworkEvents {
  /** Uplinks that came together, in order. */
  uplinks(uplinks: readonly Uplink[]): void
  joined(device: ObjectKey, atMs: number): void
  status(news: DeviceStatusNews): void
  trouble(trouble: Trouble): void
}

/** One application payload on its way to a device. */
export interface Downlink {
  readonly device: ObjectKey
  readonly port: number
  readonly payload: Uint8Array
  readonly confirmed: boolean
  /** `clock.monotonic()` after which it must not be sent any more. */
  readonly deadlineMs: number
  /** Aborts when something newer replaced it. */
  readonly signal: AbortSignal
  /** Why it is still on its way, in words; called whenever that changes. */
  readonly onWait?: (reason: string) => void
}

export type DownlinkEnd =
  | { readonly state: 'acknowledged'; readonly atMs: number }
  /** Sent, and nobody asked the device to acknowledge. */
  | { readonly state: 'transmitted'; readonly atMs: number }
  | { readonly state: 'refused'; readonly code: string; readonly reason: string; readonly atMs: number }
  | { readonly state: 'expired'; readonly reason: string; readonly atMs: number }

/** A LoRaWAN network: our own server, or somebody else's reached over MQTT. */
export interface Network extends AsyncDisposable {
  /** The full set of its devices from now on. */
  configure(devices: readonly LoraDevice[]): void
  /** Never rejects. */
  send(downlink: Downlink): Promise<DownlinkEnd>
  /** When the device will listen next, milliseconds since 1970; undefined when nothing is known of it. */
  nextWindowAtMs(device: ObjectKey): number | undefined
  /** How long frames to the device were on the air; a foreign network server does not say. */
  sentAirtimeMs?(device: ObjectKey): number
  /** What another gateway needs to go on with the device; a foreign network server keeps that itself. */
  carry?(device: ObjectKey): string | undefined
  links(): readonly LinkStats[]
}
