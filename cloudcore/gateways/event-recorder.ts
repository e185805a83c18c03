import { createHash } from 'node:crypto'
import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, EVENTS, objectPath } from '../kube/paths.ts'
import { Coalescer } from '../twins/coalescer.ts'

export interface EventSubject {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace?: string
  readonly name: string
  readonly uid?: string
}

export interface EventNote {
  readonly subject: EventSubject
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, stable. */
  readonly reason: string
  readonly message: string
  /** Of something that is counted elsewhere: who counts, and how far. Hearing the same twice changes nothing. */
  readonly series?: EventSeries
}

export interface EventSeries {
  /** Names the series for good, also after a restart. */
  readonly id: string
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
}

interface Held {
  note: EventNote
  readonly name: string
  readonly firstMs: number
  lastMs: number
  count: number
  created: boolean
}

interface Bucket {
  tokens: number
  refilledMs: number
}

const MAX_HELD = 4096
const FORGET_AFTER_MS = 600_000
const BURST = 25
const REFILL_EVERY_MS = 60_000

/**
 * Writes Events. The same event of the same object within ten minutes raises a count instead of making another, at
 * most every ten seconds; one object may cause 25 different events at once and then one a minute.
 */
export class EventRecorder {
  readonly #client: KubeClient
  readonly #clock: Clock
  readonly #held = new Map<string, Held>()
  readonly #buckets = new Map<string, Bucket>()
  readonly #writer: Coalescer
  /** Events not written because their object caused too many. */
  suppressed = 0

  constructor(options: {
    readonly client: KubeClient
    readonly clock: Clock
    readonly signal: AbortSignal
    readonly onTrouble: (error: SluiceError) => void
  }) {
    this.#client = options.client
    this.#clock = options.clock
    this.#writer = new Coalescer({
      clock: options.clock,
      signal: options.signal,
      intervalMs: 10_000,
      parallel: 1,
      write: (key) => this.#write(key),
      onRefused: (key, error) => {
        this.#held.delete(key)
        options.onTrouble(error)
      },
    })
  }

  record(note: EventNote): void {
    if (note.series !== undefined) {
      this.#recordSeries(note, note.series)
      return
    }
    const nowMs = this.#clock.now()
    const { subject, type, reason } = note
    const identity = [subject.kind, subject.namespace, subject.name, subject.uid, type, reason, note.message].join('\n')
    const key = createHash('sha1').update(identity).digest('hex').slice(0, 16)
    const held = this.#held.get(key)
    if (held !== undefined && nowMs - held.lastMs < FORGET_AFTER_MS) {
      held.count++
      held.lastMs = nowMs
      this.#writer.markDirty(key)
      return
    }
    if (!this.#allowed(`${subject.kind}/${subject.namespace ?? ''}/${subject.name}`, nowMs)) {
      this.suppressed++
      return
    }
    if (this.#held.size >= MAX_HELD) this.#forgetOldest()
    const name = `${subject.name.slice(0, 200)}.${key.slice(0, 8)}${nowMs.toString(16)}`
    this.#held.set(key, { note, name, firstMs: nowMs, lastMs: nowMs, count: 1, created: false })
    this.#writer.hurry(key)
  }

  #recordSeries(note: EventNote, { id, count, firstMs, lastMs }: EventSeries): void {
    const { subject } = note
    const key = createHash('sha1').update(`series\n${id}`).digest('hex').slice(0, 16)
    const held = this.#held.get(key)
    if (held !== undefined) {
      if (count <= held.count) return
      held.note = note
      held.count = count
      held.lastMs = lastMs
      this.#writer.markDirty(key)
      return
    }
    if (!this.#allowed(`${subject.kind}/${subject.namespace ?? ''}/${subject.name}`, this.#clock.now())) {
      this.suppressed++
      return
    }
    if (this.#held.size >= MAX_HELD) this.#forgetOldest()
    const name = `${subject.name.slice(0, 200)}.${key}`
    this.#held.set(key, { note, name, firstMs, lastMs, count, created: false })
    this.#writer.hurry(key)
  }

  #allowed(object: string, nowMs: number): boolean {
    let bucket = this.#buckets.get(object)
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_HELD) this.#buckets.clear()
      this.#buckets.set(object, (bucket = { tokens: BURST, refilledMs: nowMs }))
    }
    const refill = Math.floor(Math.max(0, nowMs - bucket.refilledMs) / REFILL_EVERY_MS)
    if (refill > 0) {
      bucket.tokens = Math.min(BURST, bucket.tokens + refill)
      bucket.refilledMs += refill * REFILL_EVERY_MS
    }
    if (bucket.tokens <= 0) return false
    bucket.tokens--
    return true
  }

  #forgetOldest(): void {
    const oldest = this.#held.keys().next().value
    if (oldest === undefined) return
    this.#held.delete(oldest)
    this.#writer.forget(oldest)
  }

  async #write(key: string): Promise<void> {
    const held = this.#held.get(key)
    if (held === undefined) return
    const { note, name, firstMs, lastMs, count, created } = held
    const namespace = note.subject.namespace ?? 'default'
    const lastTimestamp = seconds(lastMs)
    const message = note.message.slice(0, 1024)
    const renew = () =>
      this.#client.patch(objectPath(EVENTS, name, namespace), 'merge', {
        count,
        lastTimestamp,
        ...(note.series === undefined ? {} : { message }),
      })
    if (created) {
      await renew()
      return
    }
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: note.subject,
      type: note.type,
      reason: note.reason,
      message,
      source: { component: 'sluice-cloudcore' },
      reportingComponent: 'sluice.dev/cloudcore',
      reportingInstance: 'cloudcore',
      firstTimestamp: seconds(firstMs),
      lastTimestamp,
      count,
    }
    try {
      await this.#client.create(collectionPath(EVENTS, namespace), event)
    } catch (thrown) {
      // A series goes on under its name when the cloud core starts again.
      if (note.series === undefined || toSluiceError(thrown).code !== 'SLUICE_KUBE_EXISTS') throw thrown
      await renew()
    }
    held.created = true
  }
}

/** metav1.Time has whole seconds. */
const seconds = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`
