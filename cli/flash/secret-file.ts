import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'

const MAX_BYTES = 64 * 1024

/**
 * The content of a file that only its owner may read. Mode and content are of the same open file, so that nobody can
 * put another one in its place in between. Throws SLUICE_CLI_FILE or SLUICE_FLASH_SECRET_PERMISSION.
 */
export function readSecretFile(path: string, option: string): string {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const { mode, size } = fstatSync(fd)
    if ((mode & 0o077) !== 0) {
      throw new SluiceError(
        'SLUICE_FLASH_SECRET_PERMISSION',
        `'${path}' (--${option}) holds a secret and others may read it (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`,
        { hint: `Type: chmod 600 ${path}` },
      )
    }
    const bytes = Buffer.alloc(Math.min(size, MAX_BYTES))
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0))
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `'${path}' (--${option}) cannot be read (${reason})`, {
      hint: 'Check the name and its rights.',
      cause,
    })
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
