import { createCipheriv, createSecretKey, type KeyObject } from 'node:crypto'

const ZERO_BLOCK = new Uint8Array(16)

/** Doubling in GF(2^128), RFC 4493 section 2.3: the step from L to K1 and from K1 to K2. */
function double(block: Uint8Array): Uint8Array {
  const out = new Uint8Array(16)
  for (let index = 0; index < 16; index++) out[index] = (block[index]! << 1) | ((block[index + 1] ?? 0) >> 7)
  if ((block[0]! & 0x80) !== 0) out[15]! ^= 0x87
  return out
}

/**
 * One AES-128 key of a device, ready for the operations of LoRaWAN 1.0.x. It prints as a placeholder wherever it is
 * logged or serialised, so that no key leaves by accident.
 */
export class LoraKey {
  readonly #key: KeyObject
  #k1: Uint8Array | undefined
  #k2: Uint8Array | undefined

  /** @param bytes exactly 16. */
  constructor(bytes: Uint8Array) {
    this.#key = createSecretKey(bytes)
  }

  /** AES-128 ECB of whole blocks. */
  encryptBlocks(blocks: Uint8Array): Buffer {
    return createCipheriv('aes-128-ecb', this.#key, null).setAutoPadding(false).update(blocks)
  }

  /** XOR with the key stream that starts at `firstBlock`; LoRaWAN's A_i blocks count in their last byte, as CTR does. */
  xorStream(firstBlock: Uint8Array, data: Uint8Array): Buffer {
    return createCipheriv('aes-128-ctr', this.#key, firstBlock).update(data)
  }

  /**
   * The first four bytes of AES-CMAC (RFC 4493) as a little-endian number, which is how every LoRaWAN MIC is carried.
   * `message` is scratch: its tail is changed. It has room for a whole last block beyond `length`.
   */
  micInPlace(message: Buffer, length: number): number {
    const last = length === 0 ? 0 : Math.ceil(length / 16) * 16 - 16
    const whole = length > 0 && length % 16 === 0
    if (!whole) {
      message[length] = 0x80
      message.fill(0, length + 1, last + 16)
    }
    const subkey = this.#subkey(whole)
    for (let index = 0; index < 16; index++) message[last + index]! ^= subkey[index]!
    const mac = createCipheriv('aes-128-cbc', this.#key, ZERO_BLOCK)
      .setAutoPadding(false)
      .update(message.subarray(0, last + 16))
    return mac.readUInt32LE(last)
  }

  /** @returns the MIC of `message`, which stays as it is. */
  mic(message: Uint8Array): number {
    const scratch = Buffer.alloc(message.length + 16)
    scratch.set(message)
    return this.micInPlace(scratch, message.length)
  }

  /** The key itself, for sealing it; call this nowhere else. */
  export(): Buffer {
    return this.#key.export()
  }

  equals(other: LoraKey): boolean {
    return this.#key.equals(other.#key)
  }

  toJSON(): string {
    return '[key]'
  }

  #subkey(whole: boolean): Uint8Array {
    if (this.#k1 === undefined) this.#k1 = double(this.encryptBlocks(ZERO_BLOCK))
    if (whole) return this.#k1
    return (this.#k2 ??= double(this.#k1))
  }
}

/** The key of 32 hexadecimal digits; undefined for anything else. Spaces, colons and dashes between them are allowed. */
export function keyFromHex(text: string): LoraKey | undefined {
  const digits = text.replace(/[\s:-]/g, '')
  return /^[0-9a-fA-F]{32}$/.test(digits) ? new LoraKey(Buffer.from(digits, 'hex')) : undefined
}

export interface SessionKeys {
  readonly nwkSKey: LoraKey
  readonly appSKey: LoraKey
}

/**
 * Session keys of an activation over the air, LoRaWAN 1.0.4 section 6.2.5.
 * @param joinNonce 24 bits, called AppNonce before 1.0.4. @param netId 24 bits. @param devNonce 16 bits.
 */
export function deriveSessionKeys(appKey: LoraKey, joinNonce: number, netId: number, devNonce: number): SessionKeys {
  const block = Buffer.alloc(32)
  for (const [at, kind] of [
    [0, 1],
    [16, 2],
  ] as const) {
    block[at] = kind
    block.writeUIntLE(joinNonce, at + 1, 3)
    block.writeUIntLE(netId, at + 4, 3)
    block.writeUInt16LE(devNonce, at + 7)
  }
  const keys = appKey.encryptBlocks(block)
  return { nwkSKey: new LoraKey(keys.subarray(0, 16)), appSKey: new LoraKey(keys.subarray(16, 32)) }
}
