/** What can happen to a frame on a line. Chances are 0 to 1 a frame; several may strike the same frame. */
export interface LineFaults {
  /** The whole frame is lost. */
  readonly lose?: number
  /** One byte of it is lost. */
  readonly drop?: number
  /** One bit of it is turned over. */
  readonly flip?: number
  /** It comes twice, the second right after the first. */
  readonly duplicate?: number
  /** It comes `delayMs` later than it should: a late answer. */
  readonly delay?: number
  readonly delayMs?: number
  /** It pauses for `splitMs` somewhere inside. */
  readonly split?: number
  readonly splitMs?: number
  /** Up to `garbageBytes` of noise come right before it. */
  readonly garbage?: number
  readonly garbageBytes?: number
}

/** Part of a damaged frame: `bytes` go out `pauseMs` after the part before. */
export interface FramePart {
  readonly pauseMs: number
  readonly bytes: Uint8Array
}

/** Strikes one frame; an empty list is a lost one. `struck` is called with the name of every fault. */
export function strike(
  frame: Uint8Array,
  faults: LineFaults,
  random: () => number,
  struck: (fault: keyof LineFaults) => void,
): FramePart[] {
  const happens = (fault: 'lose' | 'drop' | 'flip' | 'duplicate' | 'delay' | 'split' | 'garbage') => {
    const chance = faults[fault] ?? 0
    if (chance <= 0 || random() >= chance) return false
    struck(fault)
    return true
  }
  const below = (bound: number) => Math.floor(random() * bound)
  if (frame.length === 0 || happens('lose')) return []
  let bytes = Uint8Array.from(frame)
  if (happens('drop')) bytes = removeAt(bytes, below(bytes.length))
  if (bytes.length > 0 && happens('flip')) bytes[below(bytes.length)]! ^= 1 << below(8)
  if (happens('duplicate')) bytes = joined(bytes, bytes)
  if (happens('garbage')) {
    const noise = Uint8Array.from({ length: 1 + below(faults.garbageBytes ?? 4) }, () => below(256))
    bytes = joined(noise, bytes)
  }
  const pauseMs = happens('delay') ? (faults.delayMs ?? 100) : 0
  if (bytes.length > 1 && happens('split')) {
    const cut = 1 + below(bytes.length - 1)
    return [
      { pauseMs, bytes: bytes.subarray(0, cut) },
      { pauseMs: faults.splitMs ?? 20, bytes: bytes.subarray(cut) },
    ]
  }
  return [{ pauseMs, bytes }]
}

function removeAt(bytes: Uint8Array, index: number): Uint8Array<ArrayBuffer> {
  return joined(bytes.subarray(0, index), bytes.subarray(index + 1))
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}
