import { mkdirSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'

/** Makes the folder that everything is kept in, for its owner alone; one that is there stays as it is. */
export function makeDataFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    const what = why === 'EEXIST' || why === 'ENOTDIR' ? 'a file is in its place' : why
    throw new SluiceError('SLUICE_CLI_DATA_FOLDER', `The data folder ${path} cannot be made: ${what}`, {
      hint: 'Give a folder this user may write to: --data DIR.',
      cause,
    })
  }
}
