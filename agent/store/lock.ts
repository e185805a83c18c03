import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SluiceError } from '../../api/errors.ts'

/**
 * Makes this process the only agent of a data directory. Node has no file locks, but SQLite does: the operating system
 * releases them when the process ends, however it ends, which a file with a process number in it does not.
 */
export function lockDirectory(directory: string): Disposable {
  const lock = openLock(directory)
  try {
    lock.exec('PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE')
  } catch (cause) {
    lock.close()
    throw new SluiceError('SLUICE_AGENT_RUNNING', `Another agent works in ${directory}`, {
      hint: 'Stop it first, or give another data directory.',
      cause,
    })
  }
  return { [Symbol.dispose]: () => lock.close() }
}

function openLock(directory: string): DatabaseSync {
  try {
    return new DatabaseSync(join(directory, 'agent.lock'), { timeout: 0 })
  } catch (cause) {
    throw new SluiceError('SLUICE_AGENT_DATA_DIR', `The data directory ${directory} cannot be used by this user`, {
      hint: 'Give a directory this user may write to with --data, or run the agent as its owner.',
      cause,
    })
  }
}
