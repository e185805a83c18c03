import { imageRegion } from '../../firmware/tools/board-files.ts'
import type { FirmwareBuild } from '../../firmware/tools/build.ts'

export interface SizeRow {
  readonly what: string
  readonly bytes: number
  /** What there is of it on the board; undefined for a process. */
  readonly of: number | undefined
}

/** What a build takes of its board. */
export function sizeRows({ sizes, board, image }: FirmwareBuild): readonly SizeRow[] {
  const process = board.soc.compiler === 'cc'
  return [
    { what: 'flash', bytes: sizes.flashBytes, of: process ? undefined : imageRegion(board, image).size },
    { what: 'RAM', bytes: sizes.ramBytes, of: process ? undefined : board.ram.size },
    { what: 'of it stack', bytes: sizes.stackBytes, of: undefined },
  ]
}

export const sizeLine = ({ what, bytes, of }: SizeRow): string =>
  of === undefined ? `${what} ${bytes} bytes` : `${what} ${bytes} of ${of} bytes (${((100 * bytes) / of).toFixed(1)} %)`
