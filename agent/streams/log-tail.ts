import type { FileHandle } from 'node:fs/promises'
import type { LogsTarget } from '../../api/link/pod-streams.ts'
import { splitCri } from './cri-lines.ts'

const BLOCK_BYTES = 64 * 1024
const NEWLINE = 0x0a

/** Where in the file the last `tailLines` lines begin; 0 for all of it. Reads backwards, so that a large file costs little. */
export async function tailOffset(file: FileHandle, { tailLines }: Pick<LogsTarget, 'tailLines'>): Promise<number> {
  if (tailLines === undefined) return 0
  const { size } = await file.stat()
  if (tailLines === 0) return size
  let found = 0
  /** Where the line begins that is being looked at, going backwards. */
  let lineEnd = size
  let held: Buffer = Buffer.alloc(0)
  for (let from = size; from > 0; ) {
    const start = Math.max(0, from - BLOCK_BYTES)
    const block = Buffer.allocUnsafe(from - start)
    const { bytesRead } = await file.read(block, 0, block.length, start)
    held = Buffer.concat([block.subarray(0, bytesRead), held])
    from = start
    for (let at = held.lastIndexOf(NEWLINE, held.length - 1); at >= 0; at = lastBefore(held, at)) {
      const lineStart = from + at + 1
      if (lineStart === size) continue
      const line = held.subarray(at + 1, lineEnd - from)
      // Lines count by their ends: the parts before an end belong to it.
      if (endsLine(line) && ++found > tailLines) return lineEnd
      lineEnd = lineStart
    }
    // Only the beginning of the earliest line is needed further.
    held = held.subarray(0, Math.max(0, lineEnd - from))
  }
  if (held.length > 0 && endsLine(held) && found >= tailLines) return lineEnd
  return 0
}

const lastBefore = (bytes: Buffer, at: number): number => (at === 0 ? -1 : bytes.lastIndexOf(NEWLINE, at - 1))

const endsLine = (line: Buffer): boolean => splitCri(line)?.partial !== true
