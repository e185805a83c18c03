import { closeSync, openSync, readSync } from 'node:fs'

/** Read and used up within one call, never across a wait, so one buffer serves all files. */
const scratch = Buffer.allocUnsafe(16_384)

/** A file that could not be read is left alone this long: an error costs ten times a reading. */
const RETRY_MS = 10_000

export type FileProblem = 'absent' | 'forbidden' | 'faulty'

/**
 * A small file of sysfs or procfs that stays open and is read again from its start, about 7 µs a time. What fails is
 * closed and opened anew later, so a sensor that is unplugged and comes back is found again.
 */
export class KeptFile implements Disposable {
  readonly path: string
  #fd: number | undefined
  #problem: FileProblem | undefined
  #retryMs = Number.NEGATIVE_INFINITY

  constructor(path: string) {
    this.path = path
  }

  /** Why the last reading gave nothing; undefined when it gave something. */
  get problem(): FileProblem | undefined {
    return this.#problem
  }

  /** A whole number, as sysfs writes it: `-1200\n`. Undefined when there is none, and then `problem` says why. */
  readInteger(nowMs: number): number | undefined {
    const length = this.#read(nowMs)
    if (length < 0) return undefined
    const value = parseInteger(scratch, length)
    if (value === undefined) this.#faulty()
    return value
  }

  /** The whole number behind `label` at the start of the file, as `cpu.stat` begins with `usage_usec 123`. */
  readLabelled(label: string, nowMs: number): number | undefined {
    const length = this.#read(nowMs)
    if (length < 0) return undefined
    const text = scratch.toString('latin1', 0, Math.min(length, label.length + 24))
    if (!text.startsWith(label)) return undefined
    const value = Number.parseInt(text.slice(label.length), 10)
    return Number.isFinite(value) ? value : undefined
  }

  /** The first decimal number of the file: `1234.56 7890.12\n`. */
  readDecimal(nowMs: number): number | undefined {
    const length = this.#read(nowMs)
    if (length < 0) return undefined
    const value = Number.parseFloat(scratch.toString('latin1', 0, Math.min(length, 32)))
    if (Number.isFinite(value)) return value
    this.#faulty()
    return undefined
  }

  /** The whole file without white space around it; at most 16 KiB. */
  readText(nowMs: number): string | undefined {
    const length = this.#read(nowMs)
    if (length < 0) return undefined
    const text = scratch.toString('latin1', 0, length).trim()
    if (text === '') this[Symbol.dispose]()
    return text
  }

  /** What makes no sense may be another file by now under the same name: it is opened anew for the next reading. */
  #faulty(): void {
    this.#problem = 'faulty'
    this[Symbol.dispose]()
  }

  #read(nowMs: number): number {
    if (this.#fd === undefined && nowMs < this.#retryMs) return -1
    try {
      this.#fd ??= openSync(this.path, 'r')
      const length = readSync(this.#fd, scratch, 0, scratch.length, 0)
      this.#problem = undefined
      return length
    } catch (error) {
      this.#problem = problemOf(error)
      this.#retryMs = nowMs + RETRY_MS
      this[Symbol.dispose]()
      return -1
    }
  }

  [Symbol.dispose](): void {
    const fd = this.#fd
    this.#fd = undefined
    if (fd === undefined) return
    try {
      closeSync(fd)
    } catch {
      // The descriptor is gone either way.
    }
  }
}

/** sysfs answers ENODEV and ENODATA for an attribute that this very sensor lacks: that is absent, not broken. */
function problemOf(error: unknown): FileProblem {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EACCES' || code === 'EPERM') return 'forbidden'
  return code === 'EIO' || code === 'EINVAL' || code === 'ETIMEDOUT' || code === 'EISDIR' ? 'faulty' : 'absent'
}

function parseInteger(bytes: Buffer, length: number): number | undefined {
  let end = length
  while (end > 0 && bytes[end - 1]! <= 0x20) end--
  const negative = bytes[0] === 0x2d
  let at = negative ? 1 : 0
  // More digits than a double holds exactly are no reading of any sensor.
  if (at === end || end - at > 16) return undefined
  let value = 0
  for (; at < end; at++) {
    const digit = bytes[at]! - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return negative ? -value : value
}
