/** Where in a file a problem is; line and column count from 1. */
export interface SourcePosition {
  readonly file: string
  readonly line: number
  readonly column: number
}

export interface SluiceErrorOptions {
  /** What the reader can do about it, in one sentence. Defaults to the remedy of the error table. */
  readonly hint?: string
  readonly cause?: unknown
  /** Dotted path of the offending field, for example `spec.properties[2].modbus.holding`. */
  readonly field?: string
  readonly position?: SourcePosition
}

/**
 * The only error class that leaves a Sluice module. `code` is stable and listed in docs/errors.md; callers match on
 * it and never on the message.
 */
export class SluiceError extends Error {
  readonly code: string
  readonly hint: string | undefined
  readonly field: string | undefined
  readonly position: SourcePosition | undefined

  constructor(code: string, message: string, options: SluiceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SluiceError'
    this.code = code
    this.hint = options.hint
    this.field = options.field
    this.position = options.position
  }

  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.position === undefined ? {} : { position: this.position }),
    }
  }
}

/** Turns anything thrown into a SluiceError; foreign errors become `SLUICE_INTERNAL` with the original as cause. */
export function toSluiceError(thrown: unknown, code = 'SLUICE_INTERNAL'): SluiceError {
  if (thrown instanceof SluiceError) return thrown
  return new SluiceError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown })
}
