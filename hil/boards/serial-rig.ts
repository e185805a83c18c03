import { SluiceError } from '../../api/errors.ts'
import type { BoardLine, BoardRig } from './rig.ts'

/**
 * A real board on a real port, already flashed and powered: what needs hands rejects with SLUICE_HIL_RIG_CANNOT. The path
 * comes from `npm test -- hil/boards --port PATH`, or SLUICE_BOARD_PORT.
 */
export function serialBoard(path: string, board = 'a real board'): BoardRig {
  const line: BoardLine = { kind: 'pty', path, write: () => undefined, onData: () => undefined }
  const cannot = async (): Promise<never> => {
    throw new SluiceError('SLUICE_HIL_RIG_CANNOT', `a real board on ${path} cannot do that by itself`, {
      hint: 'Use its button, its plug or a debug probe.',
    })
  }
  return {
    kind: 'serial',
    board,
    lines: [line],
    reset: cannot,
    hang: cannot,
    resume: cannot,
    powerCut: cannot,
    powerOn: cannot,
    readFlash: cannot,
    writeFlash: cannot,
    setTemperature: cannot,
    async [Symbol.asyncDispose]() {},
  }
}
