import type { Clock } from '../../api/clock.ts'
import { PacedWire, type PacedWireOptions, type WireStats } from '../paced-wire.ts'
import { openPtyPair } from '../pty.ts'
import type { BoardRig } from './rig.ts'

/** A line with a master's end that foreign code opens, and boards on it. */
export interface BoardBus extends AsyncDisposable {
  /** The master's end. */
  readonly path: string
  readonly stats: WireStats
  /** Bytes onto the line out of turn, as a bad contact makes them. */
  noise(bytes: Uint8Array): void
}

/**
 * Puts boards on one half-duplex line: end 0 is the master, end 1 the first board. Every end hears all the others, at the
 * pace of the baud rate, with faults and collisions as `options` say. The boards' first lines must be of kind `stream`.
 */
export function boardBus(boards: readonly BoardRig[], options: PacedWireOptions, clock: Clock): BoardBus {
  const pty = openPtyPair()
  const wire = new PacedWire(options, boards.length + 1, clock, (to, bytes) => {
    if (to === 0) pty.write(bytes)
    else boards[to - 1]?.lines[0]?.write(bytes)
  })
  pty.onData((chunk) => wire.transmit(0, chunk))
  for (const [index, board] of boards.entries()) board.lines[0]?.onData((chunk) => wire.transmit(index + 1, chunk))
  return {
    path: pty.path,
    get stats() {
      return wire.stats
    },
    noise: (bytes) => wire.transmit(0, bytes),
    async [Symbol.asyncDispose]() {
      wire.close()
      await pty[Symbol.asyncDispose]()
    },
  }
}
