/**
 * The words of Modbus, as "MODBUS Application Protocol Specification V1.1b3" (section 6) has them.
 * Addresses are protocol addresses, 0 to 65535 (the register a manual calls 40001 is holding 0).
 */

/** Object categories of function 43/14 (section 6.21): basic 1, regular 2, extended 3, one object by its id 4. */
type DeviceIdCategory = 1 | 2 | 3 | 4

/** One request PDU. Bounds are the specification's and are checked before anything reaches the wire. */
export type ModbusRequest =
  /** Coils (1) and discrete inputs (2): `count` 1 to 2000. */
  | { readonly fc: 1 | 2; readonly address: number; readonly count: number }
  /** Holding (3) and input (4) registers: `count` 1 to 125. */
  | { readonly fc: 3 | 4; readonly address: number; readonly count: number }
  | { readonly fc: 5; readonly address: number; readonly value: boolean }
  /** `value` 0 to 65535. */
  | { readonly fc: 6; readonly address: number; readonly value: number }
  /** 1 to 1968 coils. */
  | { readonly fc: 15; readonly address: number; readonly values: readonly boolean[] }
  /** 1 to 123 registers, each 0 to 65535. */
  | { readonly fc: 16; readonly address: number; readonly values: Uint16Array | readonly number[] }
  /** Register becomes (current AND `and`) OR (`or` AND NOT `and`). */
  | { readonly fc: 22; readonly address: number; readonly and: number; readonly or: number }
  /** The write (1 to 121 registers) happens before the read (1 to 125). */
  | {
      readonly fc: 23
      readonly readAddress: number
      readonly readCount: number
      readonly writeAddress: number
      readonly values: Uint16Array | readonly number[]
    }
  /** Read device identification. `objectId` 0 to 255 is where to start (categories 1 to 3) or the one wanted (4). */
  | { readonly fc: 43; readonly category: DeviceIdCategory; readonly objectId: number }
  /** User-defined function 0x41 as boards of ours have it (firmware/core/smp-tunnel.h): a length byte, then 1 to 241 bytes. */
  | { readonly fc: 65; readonly data: Uint8Array }

export interface DeviceIdObject {
  readonly id: number
  readonly value: Uint8Array
}

/** One response PDU, already checked against its request: function, byte count, and the echo of a write. */
export type ModbusResponse =
  /** `bits` packed as on the wire, lowest bit of byte 0 is the first: read it with `bitAt`. Bits past `count` mean nothing. */
  | { readonly fc: 1 | 2; readonly count: number; readonly bits: Uint8Array }
  /** `registers`: 2 bytes a register, big-endian as on the wire. The bytes belong to the caller. */
  | { readonly fc: 3 | 4 | 23; readonly registers: Uint8Array }
  | { readonly fc: 5; readonly address: number; readonly value: boolean }
  | { readonly fc: 6; readonly address: number; readonly value: number }
  | { readonly fc: 15 | 16; readonly address: number; readonly count: number }
  | { readonly fc: 22; readonly address: number; readonly and: number; readonly or: number }
  /** With `moreFollows` ask again from `nextObjectId`. */
  | {
      readonly fc: 43
      readonly category: number
      readonly conformity: number
      readonly moreFollows: boolean
      readonly nextObjectId: number
      readonly objects: readonly DeviceIdObject[]
    }
  | { readonly fc: 65; readonly data: Uint8Array }
