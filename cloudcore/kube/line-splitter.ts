import { SluiceError } from '../../api/errors.ts'

/** Splits a byte stream at line feeds. A line longer than `maxBytes` throws SLUICE_KUBE_BAD_ANSWER. */
export class LineSplitter {
  readonly #maxBytes: number
  #held: Buffer[] = []
  #heldBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The lines that `chunk` completes, without line feeds and without empty ones. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (;;) {
      const end = chunk.indexOf(10, start)
      if (end === -1) break
      const tail = chunk.subarray(start, end)
      this.#check(tail.length)
      const line = this.#heldBytes === 0 ? tail : Buffer.concat([...this.#held, tail])
      if (line.length > 0) lines.push(line.toString('utf8'))
      this.#held = []
      this.#heldBytes = 0
      start = end + 1
    }
    if (start < chunk.length) {
      const rest = chunk.subarray(start)
      this.#check(rest.length)
      this.#held.push(rest)
      this.#heldBytes += rest.length
    }
    return lines
  }

  #check(more: number): void {
    if (this.#heldBytes + more > this.#maxBytes) {
      throw new SluiceError('SLUICE_KUBE_BAD_ANSWER', `a watch event is larger than ${this.#maxBytes} bytes`)
    }
  }
}
