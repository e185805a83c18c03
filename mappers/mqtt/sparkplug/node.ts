import type { Clock, Timer } from '../../../api/clock.ts'
import { decodePayload, type Metric, parseTopic, REBIRTH, type SparkplugPayload } from '../../sdk/sparkplug-payload.ts'

/** What one device of an edge node, or the node itself (`undefined`), hears. */
export interface SparkplugListener {
  readonly device: string | undefined
  /** Metrics with their names, however they came. `birth`: all there are. */
  metrics(metrics: readonly Metric[], timestampMs: number | undefined, birth: boolean): void
  death(reason: string): void
  wrong(reason: string): void
}

export interface SparkplugNodeOptions {
  readonly clock: Clock
  /** Sends NCMD `Node Control/Rebirth`. */
  readonly requestRebirth: () => void
}

/** A rebirth is asked for this often at most, and less often while it does not help. */
const REBIRTH_MS = 5000
const MAX_REBIRTH_MS = 300_000
/** Aliases and names a node may have; a hostile one must not fill memory. */
const MAX_METRICS = 20_000

interface Known {
  readonly name: string
  readonly type: Metric['type']
}

/** What the births of a node or a device said. */
class Dictionary {
  readonly #byAlias = new Map<number, Known>()
  readonly #typeOf = new Map<string, Metric['type']>()

  learn({ name, alias, type }: Metric): void {
    if (name === undefined || this.#typeOf.size >= MAX_METRICS) return
    this.#typeOf.set(name, type)
    if (alias !== undefined) this.#byAlias.set(alias, { name, type })
  }

  named({ alias }: Metric): string | undefined {
    return alias === undefined ? undefined : this.#byAlias.get(alias)?.name
  }

  typeOf({ name, alias }: Metric): Metric['type'] {
    return name === undefined ? this.#byAlias.get(alias ?? -1)?.type : this.#typeOf.get(name)
  }
}

/**
 * What a host keeps of one edge node (Sparkplug B 3.0, sections 6.4 and 5.5 to 5.9): whether it is born, its `bdSeq`,
 * the sequence that shows lost messages, and the aliases of its metrics. What does not fit asks the node to be born again.
 */
export class SparkplugNode {
  readonly #options: SparkplugNodeOptions
  readonly #listeners = new Set<SparkplugListener>()
  /** Metrics of the node under '', those of a device under its name. */
  readonly #known = new Map<string, Dictionary>()
  #born = false
  #seq = 0
  #bdSeq: number | undefined
  #rebirthAfterMs = 0
  #rebirthWaitMs = REBIRTH_MS
  /** A request that came too soon after the one before. */
  #pending: Timer | undefined
  #gaps = 0

  constructor(options: SparkplugNodeOptions) {
    this.#options = options
  }

  get born(): boolean {
    return this.#born
  }

  /** Sequence numbers that were not the next one. */
  get gaps(): number {
    return this.#gaps
  }

  get listening(): number {
    return this.#listeners.size
  }

  add(listener: SparkplugListener): void {
    this.#listeners.add(listener)
    // A node that was born before anybody listened has to say its metrics again.
    this.#rebirth()
  }

  remove(listener: SparkplugListener): void {
    this.#listeners.delete(listener)
    if (this.#listeners.size === 0) this.#cancel()
  }

  /** The broker is there, for the first time or again: whoever was born meanwhile has to say so again. */
  connected(): void {
    this.#rebirthAfterMs = 0
    this.#rebirthWaitMs = REBIRTH_MS
    if (!this.#born) this.#rebirth()
  }

  /** The broker was away: nothing is known of what came meanwhile. */
  lost(reason: string): void {
    this.#born = false
    this.#cancel()
    for (const listener of this.#listeners) listener.death(reason)
  }

  message(topic: string, bytes: Uint8Array): void {
    const parsed = parseTopic(topic)
    if (parsed === undefined || parsed.kind === 'NCMD' || parsed.kind === 'DCMD') return
    let payload: SparkplugPayload
    try {
      const known = parsed.kind.endsWith('DATA') ? this.#known.get(parsed.device ?? '') : undefined
      payload = decodePayload(bytes, (metric) => known?.typeOf(metric))
    } catch (error) {
      const reason = `${parsed.kind} is no Sparkplug B payload: ${error instanceof Error ? error.message : String(error)}`
      for (const listener of this.#of(parsed.device)) listener.wrong(reason)
      return
    }
    if (parsed.kind === 'NDEATH') this.#death(payload)
    else if (parsed.kind === 'NBIRTH') this.#birth(payload)
    else this.#inOrder(parsed.kind, parsed.device, payload)
  }

  #death(payload: SparkplugPayload): void {
    const bdSeq = bdSeqOf(payload)
    // The will of a connection before this one may come late: it speaks of a session that has ended already.
    if (this.#born && bdSeq !== undefined && bdSeq !== this.#bdSeq) return
    this.#born = false
    for (const listener of this.#listeners) listener.death('the edge node has gone (NDEATH)')
  }

  #birth(payload: SparkplugPayload): void {
    this.#born = true
    this.#bdSeq = bdSeqOf(payload)
    this.#seq = payload.seq ?? 0
    this.#rebirthWaitMs = REBIRTH_MS
    this.#cancel()
    this.#known.clear()
    // The devices behind the node are unknown until they are born too.
    for (const listener of this.#listeners)
      if (listener.device !== undefined) listener.death('not born yet (no DBIRTH)')
    this.#deliver('', undefined, payload, true)
  }

  #inOrder(kind: 'NDATA' | 'DBIRTH' | 'DDATA' | 'DDEATH', device: string | undefined, payload: SparkplugPayload): void {
    if (!this.#born) {
      this.#rebirth()
      return
    }
    const wanted = (this.#seq + 1) % 256
    if (payload.seq !== wanted) {
      this.#gaps++
      this.#rebirth()
    }
    this.#seq = payload.seq ?? wanted
    if (kind === 'DDEATH') {
      this.#known.delete(device!)
      for (const listener of this.#of(device)) listener.death('the device has gone (DDEATH)')
    } else if (kind === 'DDATA' && !this.#known.has(device!)) this.#rebirth()
    else this.#deliver(device ?? '', device, payload, kind === 'DBIRTH')
  }

  #deliver(owner: string, device: string | undefined, payload: SparkplugPayload, birth: boolean): void {
    let known = this.#known.get(owner)
    if (birth || known === undefined) this.#known.set(owner, (known = new Dictionary()))
    const named: Metric[] = []
    let strange = false
    for (const metric of payload.metrics) {
      if (birth) known.learn(metric)
      const name = metric.name ?? known.named(metric)
      if (name === undefined) strange = true
      else named.push({ ...metric, name })
    }
    if (strange) this.#rebirth()
    for (const listener of this.#of(device)) listener.metrics(named, payload.timestampMs, birth)
  }

  #rebirth(): void {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs < this.#rebirthAfterMs) {
      // Forgetting it would leave a device unknown that was added just after the birth of its node.
      this.#pending ??= this.#options.clock.after(
        this.#rebirthAfterMs - nowMs,
        () => {
          this.#pending = undefined
          this.#rebirth()
        },
        true,
      )
      return
    }
    this.#cancel()
    this.#rebirthAfterMs = nowMs + this.#rebirthWaitMs
    this.#rebirthWaitMs = Math.min(this.#rebirthWaitMs * 2, MAX_REBIRTH_MS)
    this.#options.requestRebirth()
  }

  #cancel(): void {
    this.#pending?.cancel()
    this.#pending = undefined
  }

  #of(device: string | undefined): SparkplugListener[] {
    return [...this.#listeners].filter((listener) => listener.device === device)
  }
}

const bdSeqOf = (payload: SparkplugPayload): number | undefined => {
  const value = payload.metrics.find(({ name }) => name === 'bdSeq')?.value
  return typeof value === 'number' ? value : undefined
}

/** The metric that asks a node to be born again. */
export const rebirthMetric: Metric = { name: REBIRTH, type: 'Boolean', value: true }
