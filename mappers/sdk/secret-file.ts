import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

const MAX_BYTES = 4096

/**
 * The text of a small file with a key or a password in it. Throws a plain Error that says in words what is wrong with
 * the file and never what is in it; a file that others than its owner may read is refused.
 */
export function readSecretFile(path: string): string {
  // Without waiting: opening a pipe that nobody writes to would stop the whole agent.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) throw new Error('it is no regular file')
    const mode = stat.mode & 0o777
    if ((mode & 0o077) !== 0) {
      const words = mode.toString(8).padStart(4, '0')
      throw new Error(`others than its owner may use it (mode ${words}); say chmod 600 ${path}`)
    }
    const buffer = Buffer.alloc(MAX_BYTES + 1)
    const length = readSync(file, buffer, 0, buffer.length, 0)
    if (length > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`)
    return buffer.toString('utf8', 0, length)
  } finally {
    closeSync(file)
  }
}
