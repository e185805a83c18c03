import { type SluiceError, toSluiceError } from '../api/errors.ts'
import type { Style } from './output.ts'
import { printable } from './text.ts'
import { EXIT, type ExitCode } from './verb.ts'

const UNREACHABLE =
  /_(UNREACHABLE|OFFLINE|NOT_RUNNING|NO_ANSWER|TIMED_OUT|TIMEOUT)$|^SLUICE_MODBUS_(CONNECT|LINK_DOWN|SERIAL_OPEN)$/
const REFUSED = /_(REFUSED|FORBIDDEN|UNAUTHORIZED|REJECTED|DENIED|REPLAYED|REVOKED|EXPIRED|USED|READ_ONLY|PERMISSION)$/
const USAGE =
  /^SLUICE_CLI_(?!ALREADY_RUNNING$|PART_|API_)|^SLUICE_(YAML|INVALID|MODEL|DEVICE|SCHEMA|LINT|MODBUS_LINT|MODBUS_NO)_|_(INVALID|MALFORMED|NOT_FOUND|UNKNOWN)$/

/** Codes whose names do not say their class. A card that failed or differs is plainly unbootable now. */
const KNOWN: Readonly<Record<string, ExitCode>> = {
  SLUICE_FLASH_DEVICE_LOST: EXIT.cardFailed,
  SLUICE_FLASH_WRITE: EXIT.cardFailed,
  SLUICE_FLASH_VERIFY: EXIT.cardDiffers,
  SLUICE_FW_FLASH_TARGET: EXIT.unreachable,
  SLUICE_FW_FLASH_BOARD: EXIT.refused,
  SLUICE_FW_FLASH_LOST: EXIT.cardFailed,
  SLUICE_FW_ESP: EXIT.cardFailed,
  SLUICE_FW_STM32: EXIT.cardFailed,
  SLUICE_FW_GDB: EXIT.cardFailed,
  SLUICE_FW_FLASH_VERIFY: EXIT.cardDiffers,
  SLUICE_FW_FLASH_IMAGE: EXIT.usage,
  SLUICE_FW_FLASH_ON_TRIAL: EXIT.refused,
  SLUICE_FW_FLASH_TRIAL: EXIT.rolledBack,
  SLUICE_FW_OTA_HALTED: EXIT.rolledBack,
  SLUICE_FW_OTA_NO_DEVICE: EXIT.usage,
  SLUICE_FW_TOOLCHAIN_MISSING: EXIT.missing,
  SLUICE_FW_KEY: EXIT.usage,
  SLUICE_FW_KEY_MODE: EXIT.refused,
  SLUICE_FW_KEY_EXISTS: EXIT.refused,
  SLUICE_FW_KEY_ON_GATEWAY: EXIT.refused,
  SLUICE_FW_DEV_KEY: EXIT.refused,
}

/** The exit code that goes with an error; the classes are the ones `sluice help` lists. */
export function exitCodeOf(error: SluiceError): ExitCode {
  const known = KNOWN[error.code]
  if (known !== undefined) return known
  if (UNREACHABLE.test(error.code)) return EXIT.unreachable
  if (REFUSED.test(error.code)) return EXIT.refused
  if (USAGE.test(error.code)) return EXIT.usage
  return EXIT.failure
}

/** `error CODE: message`, where it was and what to do, in at most a few lines. */
export function describeError(error: SluiceError, style: Style): string {
  const where =
    error.position === undefined ? '' : `${error.position.file}:${error.position.line}:${error.position.column}: `
  const field = error.field === undefined ? '' : `\n  field: ${printable(error.field)}`
  const hint = error.hint === undefined ? '' : `\n  ${style.dim('hint:')} ${printable(error.hint)}`
  return `${style.red('error')} ${style.bold(error.code)}: ${printable(where + error.message)}${field}${hint}`
}

/** What anything thrown means for the user. */
export function readFailure(thrown: unknown): { error: SluiceError; exitCode: ExitCode } {
  const error = toSluiceError(thrown)
  return { error, exitCode: exitCodeOf(error) }
}
