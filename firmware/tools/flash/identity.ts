import { SluiceError } from '../../../api/errors.ts'
import { boardNames, loadBoard } from '../board.ts'
import { formatVersion, readImageName } from '../image.ts'

/** Memory of a target, as the processor sees it; rejects where there is none, or where it may not be read. */
export type ReadMemory = (address: number, length: number) => Promise<Uint8Array>

/** An image that lies in a slot, by what it says of itself. */
export interface HeldImage {
  readonly board: string
  readonly slot: 'A' | 'B'
  readonly version: string
}

const HEAD_BYTES = 32
/** Security counter, model hash, board and slot address, with room for what others put there. */
const NAME_BYTES = 256

/**
 * Images of ours in a flash that has no name: looked for where any board has its slots, and taken only where the image
 * says that it is for the board whose slot that is. Nothing is verified; this is for a person, and against mistakes.
 */
export async function heldImages(read: ReadMemory, signal: AbortSignal): Promise<readonly HeldImage[]> {
  const heads = new Map<number, Uint8Array | undefined>()
  const found: HeldImage[] = []
  for (const name of boardNames()) {
    const board = loadBoard(name)
    for (const slot of ['A', 'B'] as const) {
      const address = board.layout[`slot${slot}`]?.address
      if (address === undefined) continue
      signal.throwIfAborted()
      if (!heads.has(address)) heads.set(address, await quietly(read(address, HEAD_BYTES), signal))
      const head = heads.get(address)
      const said =
        head === undefined
          ? undefined
          : await readImageName(head, (at) => quietly(read(address + at, NAME_BYTES), signal))
      if (said?.board === name) found.push({ board: name, slot, version: formatVersion(said.version) })
    }
  }
  return found
}

/** `0.2.0 in slot A, 0.1.0 in slot B`; undefined for none. */
export const heldInWords = (held: readonly HeldImage[]): string | undefined =>
  held.length === 0 ? undefined : held.map(({ slot, version }) => `${version} in slot ${slot}`).join(', ')

/** What a processor says of itself at 0xE000ED00 (CPUID), as gcc names it; undefined for another maker's or kind. */
export function processorOf(cpuid: Uint8Array): string | undefined {
  const word = Buffer.from(cpuid.buffer, cpuid.byteOffset, cpuid.byteLength)
  if (word.length < 4 || word.readUInt32LE() >>> 24 !== 0x41) return undefined
  return PROCESSORS.get((word.readUInt32LE() >>> 4) & 0xfff)
}

/** Part numbers of the CPUID register, from the processors' technical reference manuals. */
const PROCESSORS: ReadonlyMap<number, string> = new Map([
  [0xc20, 'cortex-m0'],
  [0xc60, 'cortex-m0plus'],
  [0xc21, 'cortex-m1'],
  [0xc23, 'cortex-m3'],
  [0xc24, 'cortex-m4'],
  [0xc27, 'cortex-m7'],
  [0xd20, 'cortex-m23'],
  [0xd21, 'cortex-m33'],
])

/** The bytes, or undefined where the target has none to give. Losing the target is an error all the same. */
export async function quietly(reading: Promise<Uint8Array>, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return await reading
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof SluiceError && NOT_READABLE.has(error.code)) return undefined
    throw error
  }
}

const NOT_READABLE = new Set(['SLUICE_FW_GDB_REFUSED', 'SLUICE_FW_STM32_REFUSED'])
