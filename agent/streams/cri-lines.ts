import type { LogsTarget } from '../../api/link/pod-streams.ts'

/** `2026-01-02T03:04:05.678901234Z stdout F `: nothing a runtime writes before the text is longer. */
const MAX_PREFIX_BYTES = 64
const NEWLINE = 0x0a
const SPACE = 0x20

/**
 * Turns a log in CRI format (`time stream P|F text`, one line each, P for a part of a longer one) into the text that
 * the container wrote. Lines in another format are passed on as they are: somebody wrote them there.
 */
export class CriLines {
  readonly #timestamps: boolean
  readonly #sinceMs: number
  #left: number
  #held: Buffer = Buffer.alloc(0)
  /** Inside a line of which only a part was written so far. */
  #continued = false
  /** Of that line: whether it is shown. */
  #shown = true

  constructor({ timestamps, sinceMs, limitBytes }: Pick<LogsTarget, 'timestamps' | 'sinceMs' | 'limitBytes'>) {
    this.#timestamps = timestamps === true
    this.#sinceMs = sinceMs ?? 0
    this.#left = limitBytes ?? Number.POSITIVE_INFINITY
  }

  /** Whether the limit is reached. */
  get done(): boolean {
    return this.#left <= 0
  }

  take(chunk: Buffer): Buffer {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const parts: Buffer[] = []
    let from = 0
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
      this.#line(bytes.subarray(from, end), parts)
      from = end + 1
    }
    this.#held = Buffer.from(bytes.subarray(from))
    return this.#limited(parts)
  }

  /** A last line that nobody ended, because whoever wrote it was killed. */
  end(): Buffer {
    const parts: Buffer[] = []
    if (this.#held.length > 0) this.#line(this.#held, parts)
    this.#held = Buffer.alloc(0)
    return this.#limited(parts)
  }

  #line(line: Buffer, parts: Buffer[]): void {
    const read = splitCri(line)
    if (read === undefined) {
      if (this.#sinceMs === 0) parts.push(line, LINE_END)
      return
    }
    const { time, partial, text } = read
    if (!this.#continued) {
      this.#shown = this.#sinceMs === 0 || Date.parse(time.toString('latin1')) >= this.#sinceMs
      if (this.#shown && this.#timestamps) parts.push(time, BLANK)
    }
    if (this.#shown) parts.push(text)
    if (this.#shown && !partial) parts.push(LINE_END)
    this.#continued = partial
  }

  #limited(parts: readonly Buffer[]): Buffer {
    const text = Buffer.concat(parts)
    const kept = text.length > this.#left ? text.subarray(0, this.#left) : text
    this.#left -= kept.length
    return kept
  }
}

const LINE_END = Buffer.from('\n')
const BLANK = Buffer.from(' ')

interface CriLine {
  readonly time: Buffer
  readonly partial: boolean
  readonly text: Buffer
}

/** The parts of one line without its end; undefined when it is not in CRI format. */
export function splitCri(line: Buffer): CriLine | undefined {
  const head = line.subarray(0, MAX_PREFIX_BYTES)
  const afterTime = head.indexOf(SPACE)
  const afterStream = head.indexOf(SPACE, afterTime + 1)
  if (afterTime < 20 || afterStream < 0) return undefined
  const stream = head.toString('latin1', afterTime + 1, afterStream)
  if (stream !== 'stdout' && stream !== 'stderr') return undefined
  const afterTags = head.indexOf(SPACE, afterStream + 1)
  const tagsEnd = afterTags < 0 ? line.length : afterTags
  // More tags may follow behind a colon one day.
  const tag = head.toString('latin1', afterStream + 1, tagsEnd).split(':', 1)[0]
  if (tag !== 'P' && tag !== 'F') return undefined
  return {
    time: line.subarray(0, afterTime),
    partial: tag === 'P',
    text: line.subarray(Math.min(line.length, tagsEnd + 1)),
  }
}
