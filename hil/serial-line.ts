import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../api/clock.ts'
import type { PacedWireOptions, WireStats } from './paced-wire.ts'
import { PacedWire } from './paced-wire.ts'
import type { PtyPair } from './pty.ts'
import { openPtyPair } from './pty.ts'
import { terminalBaud } from './terminal-baud.ts'
import type { UartSettings } from './uart.ts'

export interface SerialLineOptions extends PacedWireOptions {
  /** How many ends the bus has. Default 2. */
  readonly ends?: number
  /**
   * Ends that somebody opens with a baud rate of his own choice: they receive garbage where it is not that of the sender.
   * The other ends, and the parity of all, are as the line is: the kernel keeps no parity of a pseudo-terminal.
   */
  readonly choosingEnds?: readonly number[]
}

/** A virtual RS-485 bus: every end is a path that foreign code opens like any serial port. */
export interface SerialLine extends AsyncDisposable {
  /** Stable names of the ends; each is a link that vanishes with `unplug` and returns with `plug`. */
  readonly paths: readonly string[]
  readonly stats: WireStats
  /** Pulls the adapter of one end: its path vanishes and whoever has it open sees it hang up. */
  unplug(end: number): Promise<void>
  plug(end: number): void
}

/** Opens a paced line between pseudo-terminals; no process and no root needed. Give a clock exact below a millisecond. */
export function serialLine(options: SerialLineOptions, clock: Clock): SerialLine {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-line-'))
  const ends = options.ends ?? 2
  const paths = Array.from({ length: ends }, (_, end) => join(folder, `end${end}`))
  const pairs: (PtyPair | undefined)[] = paths.map(() => undefined)
  const uartOf = (end: number): UartSettings => {
    const pair = options.choosingEnds?.includes(end) === true ? pairs[end] : undefined
    return { baud: pair === undefined ? options.baud : terminalBaud(pair.path), parity: 'none' }
  }
  const wire = new PacedWire(
    options.choosingEnds === undefined ? options : { ...options, uartOf },
    ends,
    clock,
    (to, bytes) => pairs[to]?.write(bytes),
  )
  const plug = (end: number) => {
    const path = paths[end]
    if (path === undefined || pairs[end] !== undefined) return
    const pair = openPtyPair()
    pairs[end] = pair
    pair.onData((chunk) => wire.transmit(end, chunk))
    symlinkSync(pair.path, path)
  }
  const unplug = async (end: number) => {
    const pair = pairs[end]
    const path = paths[end]
    if (pair === undefined || path === undefined) return
    pairs[end] = undefined
    rmSync(path, { force: true })
    await pair[Symbol.asyncDispose]()
  }
  for (let end = 0; end < ends; end++) plug(end)
  return {
    paths,
    get stats() {
      return wire.stats
    },
    plug,
    unplug,
    async [Symbol.asyncDispose]() {
      wire.close()
      await Promise.all(pairs.map((_, end) => unplug(end)))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
