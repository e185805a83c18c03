import { SmpClient } from '../../../firmware/tools/smp/client.ts'
import { tunnelTransport } from '../../../firmware/tools/smp/tunnel.ts'
import { crc16 } from '../../../mappers/modbus/checksum.ts'

/** One erase or program of a board's flash, as its firmware asked for it. */
export interface FlashChange {
  readonly kind: 'erase' | 'program'
  /** From the start of what is swept. */
  readonly offset: number
  readonly size: number
  /** What is programmed; empty for an erase. */
  readonly bytes: Uint8Array
}

/** An emulated board whose power goes at will: what it is between two boots is its flash, and nothing else. */
export interface SweepBoard extends AsyncDisposable {
  /** Slots and settings as they are now. */
  flash(): Promise<Uint8Array>
  /** Cuts the power, changes the flash to this, fills the memory with rubbish and switches on. */
  powerOn(flash: Uint8Array): Promise<void>
  /** One Modbus RTU request to unit 1; undefined when nothing comes in `limitMs` of the board's time. */
  request(pdu: Uint8Array, limitMs: number): Promise<Uint8Array | undefined>
  /** Resolves once `run` has made the firmware start over: until then what ran before still answers. */
  restarted(run: () => Promise<void>): Promise<void>
  /** Every change of the flash while `run` goes on. */
  record(run: () => Promise<void>): Promise<readonly FlashChange[]>
}

export interface Running {
  readonly minor: number
  readonly slot: number
  readonly mark: number
  readonly attempts: number
}

/** Long enough for any answer of a board that is up, shorter than the bootloader listens. */
const ASK_MS = 60
/** Generous: a machine that does other work stands still for longer than any board. */
export const PATIENCE_MS = 60_000
const CHUNK_MS = 60_000
const ASK_MOST_MS = 2000

/** What runs, as soon as the board answers; undefined when it does not. */
export async function running(board: SweepBoard): Promise<Running | undefined> {
  let askMs = ASK_MS
  for (let spentMs = 0; spentMs < PATIENCE_MS; spentMs += askMs, askMs = Math.min(ASK_MOST_MS, askMs * 1.1)) {
    const version = await board.request(Uint8Array.of(3, 0, 0, 0, 1), askMs)
    if (version?.[0] !== 3) continue
    const state = await board.request(Uint8Array.of(4, 0xf0, 8, 0, 2), ASK_MOST_MS)
    if (state?.[0] !== 4) continue
    const boot = state[5] ?? 0
    return { minor: version[3] ?? 0, slot: state[3] ?? 0, mark: boot & 15, attempts: boot >> 4 }
  }
  return undefined
}

/** Management over function 0x41. */
export function tunnelOf(board: SweepBoard): SmpClient {
  return new SmpClient(
    tunnelTransport(async (pdu) => {
      const answer = await board.request(pdu, CHUNK_MS)
      if (answer === undefined) throw new Error('no answer')
      return answer
    }),
  )
}

/** An RTU frame to unit 1. */
export function frameOf(pdu: Uint8Array): Uint8Array {
  const frame = Buffer.concat([Buffer.from([1]), pdu, Buffer.alloc(2)])
  frame.writeUInt16LE(crc16(frame, 0, frame.length - 2), frame.length - 2)
  return frame
}

/** The answer in what was heard, once it is whole and about what was asked. */
export function answerIn(heard: Uint8Array, pdu: Uint8Array): Uint8Array | undefined {
  const whole =
    heard.length >= 5 && heard[0] === 1 && ((heard[1] ?? 0) & 0x7f) === pdu[0] && crc16(heard, 0, heard.length) === 0
  return whole ? heard.slice(1, -2) : undefined
}
