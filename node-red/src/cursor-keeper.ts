import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where a connection stands in the event stream, across restarts of the flow and of Node-RED. */
export interface CursorKeeper {
  value: string | undefined
  save(): void
}

const SAVE_MS = 1000
const MAX_CURSOR = 128

/**
 * Keeps the cursor in a small file under Node-RED's own folder, written at most once a second and at the end. A kill may
 * repeat the events of the last second: they are delivered at least once. The other end is part of what is kept: a
 * gateway node that was pointed elsewhere starts anew.
 */
export function cursorFile(folder: string, id: string, target: string): CursorKeeper {
  const path = join(folder, 'sluice', `${id.replace(/[^\w-]/g, '_')}.cursor.json`)
  let value = readCursor(path, target)
  let timer: NodeJS.Timeout | undefined
  const save = () => {
    clearTimeout(timer)
    timer = undefined
    if (value === undefined) return
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      writeFileSync(`${path}.new`, JSON.stringify({ target, cursor: value }), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    } catch {
      // A full disk must not stop a flow: without the file a restart begins with the state as it is then.
    }
  }
  return {
    get value() {
      return value
    },
    set value(cursor) {
      value = cursor
      timer ??= setTimeout(save, SAVE_MS).unref()
    },
    save,
  }
}

function readCursor(path: string, target: string): string | undefined {
  try {
    const kept: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof kept !== 'object' || kept === null || !('target' in kept) || !('cursor' in kept)) return undefined
    if (kept.target !== target || typeof kept.cursor !== 'string' || kept.cursor.length > MAX_CURSOR) return undefined
    return kept.cursor
  } catch {
    return undefined
  }
}
