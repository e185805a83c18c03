import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const PARENT = '/tmp'

/** A folder that says whose it is, which users of pods may pass through. */
export function ownFolder(kind: string): string {
  const folder = mkdtempSync(join(PARENT, `sluice-${kind}-${process.pid}-`))
  chmodSync(folder, 0o711)
  return folder
}

/** Clears away what tests of this kind left that were cut off: their process is gone, so nobody else will. */
export async function clearLeftBehind(kind: string, clear: (folder: string) => Promise<void>): Promise<void> {
  for (const name of readdirSync(PARENT)) {
    const pid = new RegExp(`^sluice-${kind}-(\\d+)-`).exec(name)?.[1]
    if (pid === undefined || existsSync(`/proc/${pid}`) || !claimed(join(PARENT, name, 'clearing'))) continue
    await clear(join(PARENT, name))
    rmSync(join(PARENT, name), { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Whether nobody else is at it: several files of tests begin at the same time. */
function claimed(path: string): boolean {
  try {
    mkdirSync(path)
    return true
  } catch {
    return false
  }
}
