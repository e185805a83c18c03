import type { Json } from '../../api/resources.ts'

/** Something that was seen and is no device yet, by an agent or through a cloud core. */
export interface Discovered {
  /** Stable: an address, or the name of the DiscoveredDevice. */
  readonly id: string
  readonly protocol: string
  /** The model it most resembles; null when nothing does. */
  readonly model: string | null
  readonly gateway?: string
  readonly name?: string
  readonly candidates: readonly Json[]
  readonly address: Json
}

export interface FindsOptions {
  readonly ask: (signal: AbortSignal) => Promise<readonly Json[]>
  /** Whether anybody wants to hear it, and the other side can be asked. */
  readonly wanted: () => boolean
  readonly tell: (found: Discovered) => void
}

const EVERY_MS = 10_000
/** A gateway in a busy street sees many phones; the oldest are forgotten, and may be told again. */
const MAX_KNOWN = 5_000

type Fields = Readonly<Record<string, Json | undefined>>

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

/** An agent's sighting, or a DiscoveredDevice of the cloud; undefined for what is neither, or is a device already. */
export function readFound(item: Json): Discovered | undefined {
  if (!isFields(item)) return undefined
  const { metadata, spec, status } = item
  const told = isFields(spec) ? spec : item
  if (isFields(status) && status['state'] !== undefined && status['state'] !== 'new') return undefined
  const id = (isFields(metadata) ? textOf(metadata['name']) : undefined) ?? textOf(told['id'])
  const protocol = textOf(told['protocol'])
  if (id === undefined || protocol === undefined) return undefined
  const candidates = Array.isArray(told['candidates']) ? told['candidates'] : []
  const best = candidates[0]
  const gateway = textOf(told['gateway'])
  const name = textOf(told['name'])
  return {
    ...{ id, protocol, candidates, address: told['address'] ?? null },
    model: (isFields(best) ? textOf(best['model']) : undefined) ?? null,
    ...(gateway === undefined ? {} : { gateway }),
    ...(name === undefined ? {} : { name }),
  }
}

/** Tells of each new find once. What was there when the first one listened is told, too: nobody has heard it. */
export class Finds {
  readonly #options: FindsOptions
  readonly #known = new Set<string>()

  constructor(options: FindsOptions) {
    this.#options = options
  }

  start(signal: AbortSignal): void {
    const timer = setInterval(() => void this.look(signal), EVERY_MS)
    signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  }

  /** One look; what cannot be asked now is asked the next time. */
  async look(signal: AbortSignal): Promise<void> {
    if (!this.#options.wanted()) return
    let items: readonly Json[]
    try {
      items = await this.#options.ask(AbortSignal.any([signal, AbortSignal.timeout(EVERY_MS)]))
    } catch {
      return
    }
    for (const found of items.map(readFound)) {
      if (found === undefined || this.#known.has(found.id)) continue
      const [oldest] = this.#known
      if (this.#known.size >= MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest)
      this.#known.add(found.id)
      this.#options.tell(found)
    }
  }
}
