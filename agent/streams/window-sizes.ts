import type { WindowSize } from '../pods/runtimes/runtime.ts'

const MAX_HELD_CHARS = 4096

/** Reads sizes of a terminal, JSON objects one after another and cut anywhere; what is none is passed over. */
export class WindowSizes {
  readonly #resize: (size: WindowSize) => void
  #held = ''

  constructor(resize: (size: WindowSize) => void) {
    this.#resize = resize
  }

  take(data: Uint8Array): void {
    this.#held += Buffer.from(data).toString('utf8')
    for (let end = this.#held.indexOf('}'); end >= 0; end = this.#held.indexOf('}')) {
      const text = this.#held.slice(0, end + 1)
      this.#held = this.#held.slice(end + 1)
      const size = readSize(text)
      if (size !== undefined) this.#resize(size)
    }
    if (this.#held.length > MAX_HELD_CHARS) this.#held = ''
  }
}

function readSize(text: string): WindowSize | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as { Width?: unknown; Height?: unknown }
    return isSize(Width) && isSize(Height) ? { columns: Width, rows: Height } : undefined
  } catch {
    return undefined
  }
}

const isSize = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) > 0 && Number(value) <= 0xffff
