/** HCI packets as they travel over a UART (Bluetooth Core 5.4, Vol 4 Part A, "UART transport"). */
export const PACKET = { command: 1, acl: 2, event: 4 } as const

export interface HciPacket {
  /** 1 command, 2 ACL data, 4 event. */
  readonly type: number
  /** The packet without its type byte. */
  readonly body: Uint8Array
}

const MAX_PACKET = 4 + 0xffff

/** Cuts a stream of bytes into HCI packets. A byte that cannot start a packet is skipped, as a UART out of step does. */
export class H4Splitter {
  #rest: Uint8Array = new Uint8Array(0)

  push(chunk: Uint8Array): HciPacket[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const packets: HciPacket[] = []
    let at = 0
    while (at < bytes.length) {
      const size = packetSize(bytes, at)
      if (size === -1) {
        at++
        continue
      }
      if (size === undefined || at + size > bytes.length) break
      packets.push({ type: bytes[at]!, body: bytes.subarray(at + 1, at + size) })
      at += size
    }
    bytes = bytes.subarray(at)
    this.#rest = bytes.length > MAX_PACKET ? new Uint8Array(0) : Uint8Array.from(bytes)
    return packets
  }
}

/** Size with the type byte; undefined while the header is incomplete, -1 when no packet starts here. */
function packetSize(bytes: Uint8Array, at: number): number | undefined {
  const left = bytes.length - at
  switch (bytes[at]) {
    case PACKET.command:
      return left < 4 ? undefined : 4 + bytes[at + 3]!
    case PACKET.acl:
      return left < 5 ? undefined : 5 + (bytes[at + 3]! | (bytes[at + 4]! << 8))
    case PACKET.event:
      return left < 3 ? undefined : 3 + bytes[at + 2]!
    default:
      return -1
  }
}

export const event = (code: number, ...parameters: number[]): Uint8Array =>
  Uint8Array.of(PACKET.event, code, parameters.length, ...parameters)

/** `num_hci_command_packets` is always 1. */
export const commandComplete = (opcode: number, ...result: number[]): Uint8Array =>
  event(0x0e, 1, opcode & 0xff, opcode >> 8, ...result)

export const commandStatus = (opcode: number, status: number): Uint8Array =>
  event(0x0f, status, 1, opcode & 0xff, opcode >> 8)

export const le16 = (value: number): [number, number] => [value & 0xff, (value >> 8) & 0xff]

/** `AA:BB:CC:DD:EE:FF` as the six bytes of the wire, lowest first. */
export const addressBytes = (mac: string): number[] =>
  mac
    .split(':')
    .map((part) => Number.parseInt(part, 16))
    .reverse()

export const addressText = (bytes: Uint8Array, at: number): string =>
  [...bytes.subarray(at, at + 6)]
    .reverse()
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(':')
    .toUpperCase()
