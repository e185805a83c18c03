import type { DeviceView } from '../../api/views.ts'
import { deviceTable } from '../device-table.ts'
import type { Output } from '../output.ts'
import { clip } from '../text.ts'

/** At most five times a second: quick enough to feel alive, slow enough to read. */
const REDRAW_MS = 200

const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'
const CLEAR_BELOW = '\x1b[0J'

export interface Screen {
  /** Lines above the table. */
  readonly head: readonly string[]
  readonly devices: readonly DeviceView[]
  /** Lines below the table. */
  readonly foot: readonly string[]
}

/** Lines that are redrawn in place, in the normal screen: what was there before stays above them. */
export class Redrawn implements Disposable {
  readonly #out: Output
  #height = 0
  #last = ''

  constructor(out: Output) {
    this.#out = out
    out.raw(HIDE_CURSOR)
  }

  /** Draws as many lines as fit, unless they are those that stand there; says whether it drew. */
  draw(lines: readonly string[]): boolean {
    const shown = lines.slice(0, this.#out.height - 1)
    const text = shown.map((line) => `\x1b[2K${line}\n`).join('')
    if (text === this.#last) return false
    // One write a picture, so that no half of one is ever seen.
    this.#out.raw(`${this.#height > 0 ? `\x1b[${this.#height}A` : ''}${text}${CLEAR_BELOW}`)
    this.#height = shown.length
    this.#last = text
    return true
  }

  /** Leaves the last picture standing. */
  [Symbol.dispose](): void {
    this.#out.raw(SHOW_CURSOR)
  }
}

/** The picture of `sluice up`. */
export class LiveScreen {
  readonly #out: Output
  readonly #redrawn: Redrawn
  #drawnMs = Number.NEGATIVE_INFINITY
  readonly #widths: number[] = []

  constructor(out: Output) {
    this.#out = out
    this.#redrawn = new Redrawn(out)
  }

  /** Draws, unless it did so less than 200 ms ago or nothing changed. */
  draw(screen: Screen, nowMs: number): void {
    if (nowMs - this.#drawnMs < REDRAW_MS) return
    if (this.#redrawn.draw(compose(screen, nowMs, this.#out, this.#widths))) this.#drawnMs = nowMs
  }

  /** Leaves the last picture standing. */
  close(): void {
    this.#redrawn[Symbol.dispose]()
  }
}

/** The lines of one picture, never more than the terminal is high. */
export function compose(
  screen: Screen,
  nowMs: number,
  out: Pick<Output, 'style' | 'width' | 'height'>,
  widths?: number[],
): string[] {
  const width = Math.min(out.width, 130)
  const room = out.height - 1
  const table = deviceTable(screen.devices, nowMs, out.style, width, widths)
  const around = screen.head.length + screen.foot.length + 2
  const shown = Math.max(4, room - around)
  const body =
    table.length <= shown
      ? table
      : [...table.slice(0, shown - 1), out.style.dim(`… ${table.length - shown + 1} more lines: sluice device ls`)]
  return [...screen.head, '', ...body, '', ...screen.foot].slice(0, room).map((line) => clip(line, out.width))
}
