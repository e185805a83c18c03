import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { SluiceError } from '../../../../api/errors.ts'

export function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Users of pods own nothing on the way to their files, so they need the right to pass through. */
export function checkReachable(folder: string): void {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) {
      throw new SluiceError('SLUICE_POD_DIRECTORY', `Pods cannot reach ${folder}: ${at} lets no other user through`, {
        hint: `chmod o+x ${at}, or give another folder with --pods-dir.`,
      })
    }
    if (at === dirname(at)) return
  }
}
