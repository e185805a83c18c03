import type { Clock } from '../../api/clock.ts'
import type { HeardBy } from '../../api/link/messages.ts'
import type { DeviceModelSpec, DeviceSpec, Json, ModelProperty, ObjectKey } from '../../api/resources.ts'
import type { ProtocolSchema } from '../../api/schema/protocol.ts'
import type { Quality } from '../../api/twin/quality.ts'
import type { LinkStats, PlanExplanation } from '../../api/views.ts'
import type { Finding } from '../../api/yaml/findings.ts'

export type { LinkStats, PlanExplanation, PlannedRequest } from '../../api/views.ts'

/** A device resolved with its model: all a mapper needs to know, validated beforehand. */
export interface DeviceBinding {
  readonly key: ObjectKey
  readonly device: DeviceSpec
  readonly model: DeviceModelSpec
  /** Changes exactly when `device` or `model` changed in a way the mapper may care about. */
  readonly revision: string
  /**
   * Another gateway serves this device and this one is its understudy: listen where listening is free (advertisements,
   * uplinks of others) and tell readings and reachability as usual; never poll, connect or transmit. Given only to
   * protocols that say `overhears`. Changes without the revision: what was learnt of the device is to be kept.
   */
  readonly standby?: true
  /** What the gateway that served the device before told of it in `carry`; of no other use than to go on from there. */
  readonly carried?: string
}

/** One reading on its way to the twin. */
export interface Reading {
  readonly device: ObjectKey
  readonly property: string
  /** Absent when the reading failed; then `quality` says how. */
  readonly value?: Json
  /** Source time, milliseconds since 1970. */
  readonly atMs: number
  readonly quality: Quality
  /** Words for a person, when the quality is not good. */
  readonly reason?: string
}

/** What is known about reaching a device. */
export interface DeviceReachability {
  readonly device: ObjectKey
  readonly online: boolean
  readonly atMs: number
  readonly reason?: string
  /** Share of failed requests, 0 to 1, exponentially weighted. */
  readonly errorRate?: number
  readonly latencyMs?: number
  /** Received signal strength, smoothed. */
  readonly rssiDbm?: number
  readonly snrDb?: number
  /** LoRa's spreading factor of the last uplink, 5 to 12. */
  readonly spreadingFactor?: number
  /** How much weaker the signal could be and still be understood, dB. */
  readonly marginDb?: number
  /** Receivers that heard the last transmission, best first, each once; more than eight are cut. */
  readonly gateways?: readonly HeardBy[]
  /** What the device says of its battery by the protocol's own means, 0 to 100. */
  readonly batteryPercent?: number
  /**
   * What another gateway needs to go on with the device where this one stopped; at most 2048 characters, and no secret
   * that its own key does not seal: it passes through the cloud. The newest replaces the one before.
   */
  readonly carry?: string
}

/**
 * Something a person should know that is not a value: a payload that cannot be read, a key that does not fit, a frame
 * that was played back. Told as often as it happens; the gateway counts, limits and passes it on as a Kubernetes Event.
 */
export interface HostEvent {
  /** The device it is about, or `gateway`. */
  readonly about: ObjectKey | 'gateway'
  readonly type: 'Normal' | 'Warning'
  /** CamelCase and from a small fixed set of the protocol: `MicFailure`, `PayloadUnreadable`. Counted by it. */
  readonly reason: string
  /** What was wrong, where, and what to do. The newest message of a reason is the one shown. */
  readonly message: string
  /** Something came from the device and could not be used: counted in its twin (`link.unusable`). */
  readonly unusable?: true
}

/** Why a write that has not ended is still waiting, in words: "the device listens next after its uplink, about 10:31". */
export interface WriteNews {
  readonly device: ObjectKey
  readonly property: string
  /** Version of the command it is about. */
  readonly version: number
  readonly reason: string
}

/** A device that was seen and is not configured; what becomes a DiscoveredDevice for a person to approve. */
export interface Sighting {
  /** Unique and stable within the protocol: a MAC address, a DevEUI, host and unit. */
  readonly id: string
  /** What would be written under `Device.spec.<protocol>` to reach it. */
  readonly address: Json
  /** What the device calls itself. */
  readonly name?: string
  /** Models it resembles, best first, each with the reason. */
  readonly candidates: readonly { readonly model: string; readonly score: number; readonly why: string }[]
  /** A few facts for a person: vendor, firmware, last payload. */
  readonly facts: Readonly<Record<string, string>>
  readonly rssiDbm?: number
  readonly atMs: number
}

/** What a mapper keeps across restarts: small values under short keys, its own for each protocol. */
export interface MapperStorage {
  get(key: string): string | undefined
  keys(prefix: string): readonly string[]
  /**
   * Writes all entries or none; undefined removes. `now`: on the disk when it returns (frame counters, session keys);
   * `soon`: within a second. Throws SLUICE_STORE_FULL and the like, and then has changed nothing.
   */
  put(entries: Readonly<Record<string, string | undefined>>, durability: 'now' | 'soon'): void
}

/** The gateway's own MQTT broker, spoken to without a socket. */
export interface LocalBroker {
  publish(topic: string, payload: Uint8Array, options?: { readonly retain?: boolean; readonly qos?: 0 | 1 }): void
  /** Calls `listener` for every message that matches, retained ones first; ends when disposed. */
  subscribe(filter: string, listener: (topic: string, payload: Uint8Array, retained: boolean) => void): Disposable
}

export interface WriteCommand {
  readonly device: ObjectKey
  readonly property: string
  readonly value: Json
  /** Desired version this write carries; the outcome is reported for exactly this version. */
  readonly version: number
  /** `clock.monotonic()` time after which nothing may be put on the wire any more. */
  readonly deadlineMs: number
}

export type WriteOutcome =
  | { readonly state: 'applied'; readonly readBack?: Json; readonly atMs: number }
  | { readonly state: 'rejected'; readonly code: string; readonly reason: string; readonly atMs: number }
  | { readonly state: 'timedOut'; readonly reason: string; readonly atMs: number }

/** What the agent gives a mapper. Calls never throw and never block. */
export interface MapperHost {
  readonly clock: Clock
  /** 0 ≤ x < 1; seeded in tests. */
  readonly random: () => number
  readings(batch: readonly Reading[]): void
  reachability(news: readonly DeviceReachability[]): void
  /** Tells of something worth a person's attention; as often as it happens, limiting is done behind this call. */
  event(event: HostEvent): void
  /** Says why a write waits; shown as the reason of `pending` until the write ends or the next call replaces it. */
  writeNews(news: WriteNews): void
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, Json>>): void
}

/** What the gateway offers to protocols that need more than a wire. */
export interface GatewayHost extends MapperHost {
  /** Devices that were seen and are nobody's yet; repeated sightings of one id are welcome and cheap. */
  sighted(sightings: readonly Sighting[]): void
  /** Kept across restarts; empty at the first start. */
  readonly storage: MapperStorage
  /** The embedded broker, started by the first call. Rejects with SLUICE_BROKER_DISABLED where it is switched off. */
  broker(): Promise<LocalBroker>
}

/** A device's own management (SMP) over the wire it is read on, in its turn with the polling of that wire. */
export interface DeviceTunnel {
  /** Names the wire: devices with the same name share it. */
  readonly line: string
  /** What a board made of the device's model in force says it is made of, 8 bytes. */
  readonly modelHash: Uint8Array
  /**
   * One question and its answer in the protocol's own words (Modbus: a PDU of function 0x41, or the exception to it).
   * Rejects with SLUICE_SMP_TIMEOUT where none came, with the error of the wire, or with the signal's reason.
   */
  ask(
    question: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Uint8Array>
}

/** A running protocol. */
export interface Mapper extends AsyncDisposable {
  /**
   * The full set of devices to serve from now on. Only what differs from the set before is touched: links of
   * unchanged devices keep running without a missed poll.
   */
  configure(devices: readonly DeviceBinding[]): void
  /** Applies one desired value. Never rejects: every end is an outcome. `signal` means a newer version replaced it. */
  write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome>
  links(): readonly LinkStats[]
  /** Seconds that a device's requests took on its link since it was first served; 0 where that is not known. */
  busyS?(device: ObjectKey): number
  /** Seconds that frames of a device were on the air, both ways, since it was first served; radios only. */
  airtimeS?(device: ObjectKey): number
  /** Bytes that went over a network for a device since it was first served; protocols over a network only. */
  bytes?(device: ObjectKey): number
  /** The plan in force; with `otherwise`, what it would be if this served device were bound like that. Changes nothing. */
  explain(device: ObjectKey, otherwise?: DeviceBinding): PlanExplanation | undefined
  /** Where the protocol carries a device's management; undefined while the device is not served. */
  tunnel?(device: ObjectKey): DeviceTunnel | undefined
}

/** What `mappers/registry.ts` lists: cheap to import, the mapper itself is loaded when a device needs it. */
export interface Protocol {
  readonly name: string
  /**
   * Whether a property's values come when the device wants (an advertisement, an uplink, a message) rather than when it is
   * asked. How long such a property may be silent is learnt, where nobody says it. Default: all values are asked for.
   */
  readonly listens?: (property: ModelProperty) => boolean
  /** A binding with `by` added to its addresses, where the protocol has any. For fragments that stand anywhere in a device. */
  readonly moved?: (binding: Readonly<Record<string, unknown>>, by: number) => Readonly<Record<string, unknown>>
  /** Keys of the model's options that name a file, and the key that its text goes under when the model is read. */
  readonly fileKeys?: Readonly<Record<string, string>>
  /** TypeBox schemas; imported only by whoever prints or compiles them, never on the gateway's hot path. */
  schema(): Promise<ProtocolSchema>
  /** Domain knowledge about a model and the devices that use it. */
  lint(): Promise<(model: DeviceModelSpec, devices: readonly DeviceSpec[]) => readonly Finding[]>
  /** Plan without a connection, from the model and address alone. */
  explain(): Promise<(binding: DeviceBinding) => PlanExplanation>
  load(): Promise<(host: GatewayHost) => Mapper>
  /** Whether the protocol hears devices without asking them, so that a gateway may stand by for another one. */
  readonly overhears?: true
  /** Whether one address can be bound twice at a time, so that another model of a device can be tried beside the one in force. */
  readonly tries?: true
}
