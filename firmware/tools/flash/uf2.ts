import { SluiceError } from '../../../api/errors.ts'

/**
 * UF2 (Microsoft's USB flashing format, as the RP2040's boot ROM takes it): blocks of 512 bytes with 256 bytes of payload
 * each, copied to a drive that the board shows while its button is held.
 */

const MAGIC_START = 0x0a324655
const MAGIC_SECOND = 0x9e5d5157
const MAGIC_END = 0x0ab16f30
const FLAG_FAMILY = 0x2000
const BLOCK_BYTES = 512
const PAYLOAD_BYTES = 256
const PAYLOAD_AT = 32

/** Family of the RP2040: its boot ROM ignores blocks of others. */
export const UF2_FAMILY_RP2040 = 0xe48bff56

/** Bytes for an address as the processor sees it. */
export interface FlashRegion {
  readonly address: number
  readonly bytes: Uint8Array
}

/**
 * One file for several regions, in the order of their addresses. What a region does not fill of its last 256 bytes is
 * 0xFF; regions that begin within 256 bytes or share some with another are refused.
 */
export function encodeUf2(regions: readonly FlashRegion[], family: number = UF2_FAMILY_RP2040): Uint8Array {
  const pages: FlashRegion[] = []
  let free = 0
  for (const { address, bytes } of [...regions].sort((a, b) => a.address - b.address)) {
    if (address % PAYLOAD_BYTES !== 0 || address < free) {
      throw new SluiceError('SLUICE_FW_UF2', `nothing can begin at 0x${address.toString(16)} in this UF2 file`, {
        hint: 'Parts begin at multiples of 256 bytes and do not overlap.',
      })
    }
    for (let at = 0; at < bytes.length; at += PAYLOAD_BYTES)
      pages.push({ address: address + at, bytes: bytes.subarray(at, at + PAYLOAD_BYTES) })
    free = address + Math.ceil(bytes.length / PAYLOAD_BYTES) * PAYLOAD_BYTES
  }
  const file = Buffer.alloc(pages.length * BLOCK_BYTES)
  for (const [index, { address, bytes }] of pages.entries()) {
    const block = file.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)
    const head = [MAGIC_START, MAGIC_SECOND, FLAG_FAMILY, address, PAYLOAD_BYTES, index, pages.length, family]
    for (const [at, word] of head.entries()) block.writeUInt32LE(word, at * 4)
    block.fill(0xff, PAYLOAD_AT, PAYLOAD_AT + PAYLOAD_BYTES)
    block.set(bytes, PAYLOAD_AT)
    block.writeUInt32LE(MAGIC_END, BLOCK_BYTES - 4)
  }
  return file
}

/** The pages of a UF2 file of one family, to compare with what a board holds. SLUICE_FW_UF2 for what is none. */
export function decodeUf2(file: Uint8Array, family: number = UF2_FAMILY_RP2040): readonly FlashRegion[] {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const count = bytes.length / BLOCK_BYTES
  const wrong = (what: string) =>
    new SluiceError('SLUICE_FW_UF2', `this is no UF2 file for the board: ${what}`, { hint: 'Build it for this board.' })
  if (count === 0 || !Number.isInteger(count)) throw wrong(`${bytes.length} bytes are no whole number of blocks`)
  return Array.from({ length: count }, (_, index) => {
    const block = bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)
    const [start, second, flags = 0, address = 0, size = 0, number, total, kind] = Array.from({ length: 8 }, (_, at) =>
      block.readUInt32LE(at * 4),
    )
    if (start !== MAGIC_START || second !== MAGIC_SECOND || block.readUInt32LE(BLOCK_BYTES - 4) !== MAGIC_END)
      throw wrong(`block ${index} begins or ends with something else`)
    if ((flags & FLAG_FAMILY) === 0 || kind !== family) throw wrong(`block ${index} is for another family of chips`)
    if (size !== PAYLOAD_BYTES || number !== index || total !== count) throw wrong(`block ${index} is out of order`)
    return { address, bytes: Uint8Array.from(block.subarray(PAYLOAD_AT, PAYLOAD_AT + PAYLOAD_BYTES)) }
  })
}
