/** How one end of a serial line is set. */
export interface UartSettings {
  readonly baud: number
  readonly parity: 'none' | 'even' | 'odd'
  /** Default 1. */
  readonly stopBits?: 1 | 2
}

const DATA_BITS = 8

/** Bits of one character, with its start and stop. */
export const bitsPerChar = ({ parity, stopBits = 1 }: UartSettings): number =>
  1 + DATA_BITS + (parity === 'none' ? 0 : 1) + stopBits

/**
 * What a UART with the settings `receiver` makes of bytes that one with the settings `sender` puts onto the line without a
 * pause, the line idle before and after. It starts at a falling edge, samples the middle of each bit and takes the level
 * for what it is; characters with a wrong parity or a missing stop bit are dropped, as Linux does where IGNPAR is set.
 */
export function uartReceives(bytes: Uint8Array, sender: UartSettings, receiver: UartSettings): Uint8Array {
  const levels = Uint8Array.from([...bytes].flatMap((byte) => characterLevels(byte, sender)))
  // Time is counted in bits of the sender.
  const bit = sender.baud / receiver.baud
  const at = (time: number) => levels[Math.floor(time)] ?? 1
  const received: number[] = []
  let time = 0
  for (;;) {
    const edge = fallingEdge(levels, time)
    if (edge === undefined) return Uint8Array.from(received)
    // A low that is over before half a bit is noise to it.
    if (at(edge + bit / 2) === 1) {
      time = edge + bit / 2
      continue
    }
    let byte = 0
    for (let i = 0; i < DATA_BITS; i++) byte |= at(edge + bit * (1.5 + i)) << i
    const hasParity = receiver.parity !== 'none'
    const parityFits = !hasParity || at(edge + bit * (1.5 + DATA_BITS)) === parityBit(byte, receiver.parity)
    const stop = edge + bit * (1.5 + DATA_BITS + (hasParity ? 1 : 0))
    if (parityFits && at(stop) === 1) received.push(byte)
    time = stop
  }
}

function characterLevels(byte: number, settings: UartSettings): number[] {
  const data = Array.from({ length: DATA_BITS }, (_, i) => (byte >> i) & 1)
  const parity = settings.parity === 'none' ? [] : [parityBit(byte, settings.parity)]
  return [0, ...data, ...parity, ...new Array<number>(settings.stopBits ?? 1).fill(1)]
}

function parityBit(byte: number, parity: UartSettings['parity']): number {
  let ones = 0
  for (let i = 0; i < DATA_BITS; i++) ones += (byte >> i) & 1
  return (ones & 1) ^ (parity === 'odd' ? 1 : 0)
}

/** When the line next goes from high to low, at `from` or later; undefined where it stays idle. */
function fallingEdge(levels: Uint8Array, from: number): number | undefined {
  for (let index = Math.ceil(from); index < levels.length; index++) {
    if (levels[index] === 0 && (index === 0 || levels[index - 1] === 1)) return index
  }
  return undefined
}
