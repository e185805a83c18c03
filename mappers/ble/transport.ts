import type { Patience } from './guard.ts'

/** One advertisement or scan response that a radio heard. */
export interface Heard {
  /** `AA:BB:CC:DD:EE:FF`. */
  readonly mac: string
  readonly random: boolean
  readonly connectable: boolean
  /** Undefined where the controller does not say. */
  readonly rssiDbm: number | undefined
  /** AD structures as they came. Good only until the listener returns: copy what is kept. */
  readonly data: Uint8Array
}

/** How to pair with a device; without a passkey nobody checks who it is. */
export interface Pairing {
  /** Six digits that the device shows or has on its label, 0 to 999999. */
  readonly passkey?: number
}

export interface Peer {
  readonly mac: string
  readonly random: boolean
  /** ATT MTU to ask for; BlueZ chooses itself. */
  readonly mtu?: number
  /** Pair and bond when that has not been done yet. Only BlueZ keeps keys. */
  readonly pairing?: Pairing
}

/** A characteristic of a connected device; UUIDs as `shortUuid` writes them. */
export interface RemoteCharacteristic {
  readonly service: string
  readonly uuid: string
  readonly canRead: boolean
  readonly canWrite: boolean
  readonly canWriteWithoutResponse: boolean
  readonly canNotify: boolean
}

/**
 * One connection. Every call ends within its patience, with `SLUICE_BLE_TIMEOUT`, `SLUICE_BLE_CANCELLED`,
 * `SLUICE_BLE_DISCONNECTED` or `SLUICE_BLE_REFUSED`. A call that timed out leaves the connection unusable (Bluetooth
 * Core 5.4, Vol 3 Part F, 3.3.3): disconnect then.
 */
export interface BleLink {
  readonly mac: string
  /** ATT MTU in force, bytes. */
  readonly mtu: number
  /** Resolves with the reason in words once the connection has ended, whoever ended it. */
  readonly ended: Promise<string>
  discover(patience: Patience): Promise<readonly RemoteCharacteristic[]>
  read(characteristic: RemoteCharacteristic, patience: Patience): Promise<Uint8Array>
  write(characteristic: RemoteCharacteristic, bytes: Uint8Array, response: boolean, patience: Patience): Promise<void>
  subscribe(
    characteristic: RemoteCharacteristic,
    listener: (bytes: Uint8Array) => void,
    patience: Patience,
  ): Promise<void>
  rssi(patience: Patience): Promise<number>
  /** Never rejects; the connection counts as ended afterwards even if nobody confirmed it. */
  disconnect(patience: Patience): Promise<void>
}

/** One radio. It is opened once; after `onDown` it is disposed and a new one made. Its links end with it. */
export interface BleTransport extends AsyncDisposable {
  /** Resolves when the radio is up. @throws SluiceError `SLUICE_BLE_RADIO`, `SLUICE_BLE_NOT_INSTALLED`. */
  open(patience: Patience): Promise<void>
  onHeard(listener: (heard: Heard) => void): void
  /** The radio is gone: unplugged, switched off, failed. */
  onDown(listener: (reason: string) => void): void
  /** Scans from now on, also after connections that interrupt it; repeated advertisements are heard each time. */
  scan(on: boolean, patience: Patience): Promise<void>
  connect(peer: Peer, patience: Patience): Promise<BleLink>
  /** Whether the radio itself still answers: tells a dead peer from a dead radio. Never rejects. */
  alive(patience: Patience): Promise<boolean>
}
