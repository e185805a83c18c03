/** Why bytes that are there hold no value; `code` becomes the quality `bad(code)`, `reason` is for people. */
export class Unusable {
  readonly code: string
  readonly reason: string

  constructor(code: string, reason: string) {
    this.code = code
    this.reason = reason
  }
}
