import type { Clock } from '../../api/clock.ts'
import type { Json, ObjectKey } from '../../api/resources.ts'
import type { MapperStorage, Reading } from '../sdk/mapper.ts'
import { Unusable } from '../sdk/no-value.ts'
import { type Advertised, parseAdvertised } from './codec/ad.ts'
import type { DecodeContext, Refusal } from './codec/fields.ts'
import { type AdvertFormatName, companyOf, FORMATS } from './codec/formats.ts'
import type { Point } from './point.ts'
import { badReading, readingOf } from './readings.ts'

/** An advertisement that did not change is read again after this share of the fastest period, so that it is not stale. */
const REPEAT_SHARE = 0.5
/** The same complaint at most this often. */
const COMPLAINT_MS = 10_000
const COUNTER_SAVE_MS = 60_000
/** A counter of 32 bits that goes from near its end to near its start has wrapped. */
const WRAP = 0x100
const COUNTER_END = 0x1_0000_0000

export interface AdvertReaderOptions {
  readonly device: ObjectKey
  readonly mac: string
  readonly points: readonly Point[]
  readonly clock: Clock
  readonly storage: MapperStorage
  /** An advertisement cannot be used; called for each of them. */
  readonly onUnusable: (code: string, reason: string) => void
}

export interface Heeded {
  readonly readings: readonly Reading[]
  /** What the advertisement itself says of the battery, whether or not a property asks for it. */
  readonly battery?: number
}

const NOTHING: Heeded = { readings: [] }

/** Turns the advertisements of one device into readings. Everything that may come from the air is bounded here. */
export class AdvertReader {
  readonly #options: AdvertReaderOptions
  readonly #mac: Uint8Array
  readonly #formats: readonly { readonly name: AdvertFormatName; readonly points: readonly Point[] }[]
  readonly #layouts: readonly Point[]
  readonly #repeatMs: number
  /** By length of the frame, of which there are 1650 at most. */
  readonly #last = new Map<number, { data: Uint8Array; readMs: number }>()
  readonly #complaints = new Map<string, number>()
  readonly #errors = new Map<string, number>()
  #key: Uint8Array | undefined
  #keyProblem: string | undefined
  #counter: number | undefined
  #savedMs = Number.NEGATIVE_INFINITY

  constructor(options: AdvertReaderOptions) {
    this.#options = options
    this.#mac = Uint8Array.from(Buffer.from(options.mac.replaceAll(':', ''), 'hex'))
    const names = new Set(options.points.flatMap(({ source }) => (source.kind === 'format' ? [source.format] : [])))
    this.#formats = [...names].map((name) => ({
      name,
      points: options.points.filter(({ source }) => source.kind === 'format' && source.format === name),
    }))
    this.#layouts = options.points.filter(({ source }) => source.kind !== 'format')
    const fastestMs = options.points.reduce((fastest, { everyMs }) => Math.min(fastest, everyMs), 60_000)
    this.#repeatMs = fastestMs * REPEAT_SHARE
    const saved = Number(options.storage.get(this.#storageKey))
    this.#counter = Number.isSafeInteger(saved) && saved > 0 ? saved : undefined
  }

  /** Frames that could not be used, by reason. */
  get errors(): ReadonlyMap<string, number> {
    return this.#errors
  }

  /** The key of encrypted advertisements, or why it could not be had. */
  useKey(key: Uint8Array | { readonly problem: string }): void {
    if (key instanceof Uint8Array) this.#key = key
    else this.#keyProblem = key.problem
  }

  /** What was remembered against replays is forgotten: the device was taken out, so it may start anew. */
  forget(): void {
    this.#options.storage.put({ [this.#storageKey]: undefined }, 'soon')
  }

  heard(data: Uint8Array, nowMs: number): Heeded {
    // A device may take turns with several frames; each is compared with the last one of its own length.
    const last = this.#last.get(data.length)
    if (last !== undefined && nowMs - last.readMs < this.#repeatMs && isEqual(last.data, data)) return NOTHING
    this.#last.set(data.length, { data: Uint8Array.from(data), readMs: nowMs })
    const advertised = parseAdvertised(data)
    const readings: Reading[] = []
    let battery: number | undefined
    for (const { name, points } of this.#formats) {
      const level = this.#readFormat(name, points, advertised, nowMs, readings)
      if (level !== undefined) battery = level
    }
    this.#readLayouts(advertised, readings)
    return battery === undefined ? { readings } : { readings, battery }
  }

  #readFormat(
    name: AdvertFormatName,
    points: readonly Point[],
    advertised: Advertised,
    nowMs: number,
    into: Reading[],
  ): number | undefined {
    const decoded = FORMATS[name].decode(advertised, this.#context())
    if (decoded === undefined) return undefined
    if (!decoded.ok) {
      this.#complain(points, this.#explained(decoded.refusal), nowMs, into)
      return undefined
    }
    if (decoded.counter !== undefined && !this.#isFresh(decoded.counter, nowMs)) {
      const reason =
        `counter ${decoded.counter} is behind ${this.#counter}: replayed, or the device has started anew ` +
        '(pause the device and resume it to accept that)'
      this.#complain(points, { code: 'replay', reason }, nowMs, into)
      return undefined
    }
    const atMs = this.#options.clock.now()
    for (const point of points) {
      const value: Json | undefined =
        point.source.kind === 'format' ? decoded.fields.get(point.source.field) : undefined
      if (value !== undefined) into.push(readingOf(this.#options.device, point, point.finish(value), atMs))
    }
    const battery = decoded.fields.get('battery')
    return typeof battery === 'number' ? battery : undefined
  }

  #readLayouts(advertised: Advertised, into: Reading[]): void {
    const atMs = this.#options.clock.now()
    for (const point of this.#layouts) {
      const data = dataFor(point, advertised)
      if (data === undefined) continue
      const value = point.decode(data)
      if (value instanceof Unusable) this.#options.onUnusable(value.code, `${point.name}: ${value.reason}`)
      into.push(readingOf(this.#options.device, point, value, atMs))
    }
  }

  #context(): DecodeContext {
    return this.#key === undefined ? { mac: this.#mac } : { mac: this.#mac, key: this.#key }
  }

  #explained(refusal: Refusal): Refusal {
    if (refusal.code !== 'no-key' || this.#keyProblem === undefined) return refusal
    return { code: 'no-key', reason: this.#keyProblem }
  }

  #isFresh(counter: number, nowMs: number): boolean {
    const last = this.#counter
    if (last !== undefined && counter < last && !(last > COUNTER_END - WRAP && counter < WRAP)) return false
    this.#counter = counter
    if (nowMs - this.#savedMs >= COUNTER_SAVE_MS) {
      this.#savedMs = nowMs
      try {
        this.#options.storage.put({ [this.#storageKey]: String(counter) }, 'soon')
      } catch {
        // A full disk must not stop the reading; the guard against replays then holds until the next restart only.
      }
    }
    return true
  }

  #complain(points: readonly Point[], { code, reason }: Refusal, nowMs: number, into: Reading[]): void {
    const count = (this.#errors.get(code) ?? 0) + 1
    this.#errors.set(code, count)
    this.#options.onUnusable(code, reason)
    const told = this.#complaints.get(code)
    if (told !== undefined && nowMs - told < COMPLAINT_MS) return
    this.#complaints.set(code, nowMs)
    const atMs = this.#options.clock.now()
    const words = count === 1 ? reason : `${reason} (${count} times since the start)`
    for (const point of points) into.push(badReading(this.#options.device, point, code, words, atMs))
  }

  get #storageKey(): string {
    return `counter/${this.#options.mac}`
  }
}

function dataFor({ source }: Point, advertised: Advertised): Uint8Array | undefined {
  if (source.kind === 'manufacturer') {
    return advertised.manufacturer.find(
      (data) => companyOf(data) === source.company && startsWith(data, source.startsWith),
    )
  }
  if (source.kind !== 'serviceData') return undefined
  return advertised.serviceData.find(({ uuid, data }) => uuid === source.uuid && startsWith(data, source.startsWith))
    ?.data
}

function startsWith(data: Uint8Array, prefix: Uint8Array): boolean {
  return data.length >= prefix.length && prefix.every((byte, at) => data[at] === byte)
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
