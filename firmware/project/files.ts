import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { SluiceError } from '../../api/errors.ts'

/**
 * Puts a text into a file, whole or not at all, and only when it is another one than before. SLUICE_FW_FILE: the disk
 * is full, the folder cannot be written.
 */
export function writeWhole(path: string, text: string): void {
  try {
    if (existsSync(path) && statSync(path).size === Buffer.byteLength(text) && readFileSync(path, 'utf8') === text)
      return
    mkdirSync(dirname(path), { recursive: true })
  } catch (cause) {
    throw fileError(path, cause)
  }
  const scratch = `${path}.${randomUUID().slice(0, 8)}.tmp`
  try {
    writeFileSync(scratch, text)
    renameSync(scratch, path)
  } catch (cause) {
    rmSync(scratch, { force: true })
    throw fileError(path, cause)
  }
}

/** The text of a file; undefined when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw fileError(path, cause)
  }
}

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full. Free some space and try again; what was there before is still there.',
  EDQUOT: 'Your share of the disk is used up. Free some space and try again; what was there before is still there.',
  EACCES: 'You may not write there. Choose another folder, or change its owner.',
  EPERM: 'You may not write there. Choose another folder, or change its owner.',
  EROFS: 'That file system is read-only. Choose another folder.',
  EISDIR: 'There is a folder of that name. Move it away.',
}

export function fileError(path: string, cause: unknown): SluiceError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  return new SluiceError('SLUICE_FW_FILE', `'${path}' cannot be written or read (${code})`, {
    hint: HINTS[code] ?? 'Check the path.',
    cause,
  })
}

/** What a compiler says when the disk is full is about that, and not about the program. */
export function explainFullDisk(error: unknown, folder: string): unknown {
  if (!(error instanceof Error)) return error
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ENOSPC' || code === 'EDQUOT') return fileError(folder, error)
  if (!/No space left on device|Disk quota exceeded/.test(error.message)) return error
  return new SluiceError('SLUICE_FW_FILE', `'${folder}' is on a disk that is full`, {
    hint: HINTS['ENOSPC']!,
    cause: error,
  })
}
