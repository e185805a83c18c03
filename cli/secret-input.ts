import { readFileSync } from 'node:fs'
import { SluiceError } from '../api/errors.ts'

/** A secret from a file or, for `-` and nothing, from standard input: never from the command line, which others can see. */
export function readSecret(file: string | undefined, option: string): string {
  if (file === undefined && process.stdin.isTTY) {
    throw new SluiceError('SLUICE_CLI_ARGUMENTS', 'Nothing was given on standard input', {
      hint: `Give --${option} FILE, or pipe it in.`,
    })
  }
  try {
    return readFileSync(file === undefined || file === '-' ? 0 : file, 'utf8').trim()
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `'${file ?? 'standard input'}' cannot be read (${reason})`, {
      hint: 'Check the name and its rights.',
      cause,
    })
  }
}
