/** Something to say about what a person wrote. An `error` stops the file from being used, a `warning` does not. */
export interface Finding {
  readonly severity: 'error' | 'warning'
  /** Stable code, listed in docs/errors.md. */
  readonly code: string
  readonly message: string
  readonly hint: string
  /**
   * Path inside the document: `['spec', 'properties', 2, 'modbus', 'holding']`. Whoever knows the file turns it into
   * line and column.
   */
  readonly path: readonly (string | number)[]
  /** Whether the key or the value at the end of the path is to blame. Default value. */
  readonly at?: 'key' | 'value'
}
