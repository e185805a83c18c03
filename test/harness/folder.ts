import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Folder extends Disposable {
  readonly path: string
}

/** A folder of its own under the system's temporary one; gone when disposed. */
export function temporaryFolder(name: string): Folder {
  const path = mkdtempSync(join(tmpdir(), `sluice-${name}-`))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}
