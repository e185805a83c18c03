import { statSync } from 'node:fs'
import type { Clock } from '../../api/clock.ts'
import { trustPublicAuthorities } from '../../api/public-authorities.ts'
import type { GatewaySpec } from '../../api/schema/gateway.ts'
import { textOf } from './folder.ts'
import { SlowProbe } from './slow-probe.ts'
import type { SourceHealth } from './source.ts'

type CarbonConfig = NonNullable<NonNullable<GatewaySpec['energy']>['carbon']>

const HOUR_MS = 3_600_000
const FILE_CHECK_MS = 60_000
const URL_MS = 900_000
const URL_TIMEOUT_MS = 10_000
const MAX_BYTES = 262_144
const MAX_HOURS = 24 * 31
/** No grid is worse than burning lignite in an old plant. */
const MAX_G_PER_KWH = 10_000

/** Intensity from `fromMs` on, sorted by it. */
export interface CarbonHour {
  readonly fromMs: number
  readonly gPerKWh: number
}

/**
 * What a file, a topic or a URL says: a plain number for now and ever, or a list by hour, also as the `history`,
 * `forecast` or `data` of an object. Field names of the usual services are understood: `gPerKWh`, `carbonIntensity`,
 * `intensity`, `value`; `at`, `datetime`, `from`, `time`. Undefined when it is none of that.
 */
export function parseCarbon(text: string): number | readonly CarbonHour[] | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  return readCarbon(json)
}

function readCarbon(json: unknown): number | readonly CarbonHour[] | undefined {
  if (typeof json === 'number') return intensity(json)
  if (Array.isArray(json)) return hoursOf(json)
  if (typeof json !== 'object' || json === null) return undefined
  const fields = new Map(Object.entries(json))
  for (const name of ['forecast', 'history', 'data']) {
    const list = fields.get(name)
    if (Array.isArray(list)) return hoursOf(list)
  }
  return intensity(amountOf(fields))
}

function hoursOf(list: readonly unknown[]): readonly CarbonHour[] | undefined {
  const hours: CarbonHour[] = []
  for (const item of list.slice(0, MAX_HOURS)) {
    if (typeof item !== 'object' || item === null) return undefined
    const fields = new Map(Object.entries(item))
    const at = ['at', 'datetime', 'from', 'time']
      .map((name) => fields.get(name))
      .find((value) => typeof value === 'string')
    const fromMs = typeof at === 'string' ? Date.parse(at) : Number.NaN
    const gPerKWh = intensity(amountOf(fields))
    if (!Number.isFinite(fromMs) || gPerKWh === undefined) return undefined
    hours.push({ fromMs, gPerKWh })
  }
  return hours.length === 0 ? undefined : hours.sort((a, b) => a.fromMs - b.fromMs)
}

function amountOf(fields: ReadonlyMap<string, unknown>): unknown {
  for (const name of ['gPerKWh', 'carbonIntensity', 'intensity', 'value']) {
    const value = fields.get(name)
    if (typeof value === 'number') return value
    // carbonintensity.org.uk: {"intensity": {"forecast": 210, "actual": 208}}
    if (typeof value === 'object' && value !== null) {
      const inner = new Map<string, unknown>(Object.entries(value))
      return inner.get('actual') ?? inner.get('forecast')
    }
  }
  return undefined
}

const intensity = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && value <= MAX_G_PER_KWH ? value : undefined

/** The intensity at a time: of the hour it falls in; undefined outside of what was given. */
export function carbonAt(given: number | readonly CarbonHour[] | undefined, wallMs: number): number | undefined {
  if (given === undefined || typeof given === 'number') return given
  let found: CarbonHour | undefined
  for (const hour of given) if (hour.fromMs <= wallMs) found = hour
  return found !== undefined && wallMs - found.fromMs < HOUR_MS ? found.gPerKWh : undefined
}

/** Hours that are told: a day ahead is what forecasts are good for, two what some give. */
const FORECAST_HOURS = 48

/** Of the hour that has begun and those to come without a gap, rounded to whole grams; a number for ever is no forecast. */
export function forecastFrom(
  given: number | readonly CarbonHour[] | undefined,
  wallMs: number,
): { readonly fromMs: number; readonly gPerKWh: readonly number[] } | undefined {
  if (given === undefined || typeof given === 'number') return undefined
  const fromMs = Math.floor(wallMs / HOUR_MS) * HOUR_MS
  const gPerKWh: number[] = []
  for (let hour = 0; hour < FORECAST_HOURS; hour++) {
    // Of an hour that began before now, what holds now.
    const at = carbonAt(given, hour === 0 ? wallMs : fromMs + hour * HOUR_MS)
    if (at === undefined) break
    gPerKWh.push(Math.round(at))
  }
  return gPerKWh.length < 2 ? undefined : { fromMs, gPerKWh }
}

export interface CarbonOptions {
  readonly clock: Clock
  readonly config: CarbonConfig
  readonly subscribe: ((topic: string, listener: (payload: Uint8Array) => void) => Disposable) | undefined
  readonly fetch?: typeof globalThis.fetch
}

/** At most `MAX_BYTES` of an answer; a longer one is no list of hours. */
async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error('the URL gave more than 256 KiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Grams of CO2 equivalent a kilowatt-hour of this gateway's supply costs right now. */
export class Carbon implements Disposable {
  readonly #options: CarbonOptions
  readonly #subscription: Disposable | undefined
  readonly #probe: SlowProbe<number | readonly CarbonHour[]> | undefined
  #given: number | readonly CarbonHour[] | undefined
  #problem: string | undefined
  #checkedMs = Number.NEGATIVE_INFINITY
  #changedMs = 0

  constructor(options: CarbonOptions) {
    this.#options = options
    const { config, subscribe, clock } = options
    this.#given = config.gPerKWh
    if (config.topic !== undefined) {
      this.#subscription = subscribe?.(config.topic, (payload) =>
        this.#take(
          payload.length > MAX_BYTES ? '' : Buffer.from(payload).toString('utf8'),
          `the topic ${config.topic}`,
        ),
      )
    }
    if (config.url !== undefined) {
      const url = config.url
      this.#probe = new SlowProbe({ clock, everyMs: URL_MS, probe: (signal) => this.#ask(url, signal) })
      this.#probe.start()
    }
  }

  /** Undefined where nobody said it for this hour. */
  gPerKWh(wallMs: number, monotonicMs: number): number | undefined {
    const { file } = this.#options.config
    if (file !== undefined && monotonicMs - this.#checkedMs >= FILE_CHECK_MS) {
      this.#checkedMs = monotonicMs
      this.#readFile(file)
    }
    return carbonAt(this.#given, wallMs)
  }

  /** Of this hour and those to come, as far as they were given without a gap; undefined where nobody gave this hour. */
  forecast(wallMs: number): { readonly fromMs: number; readonly gPerKWh: readonly number[] } | undefined {
    return forecastFrom(this.#given, wallMs)
  }

  #readFile(path: string): void {
    try {
      const { mtimeMs, size } = statSync(path)
      if (mtimeMs === this.#changedMs) return
      this.#changedMs = mtimeMs
      this.#take(size > MAX_BYTES ? '' : (textOf(path) ?? ''), path)
    } catch {
      // Should it come back as it was, it is read again.
      this.#changedMs = 0
      this.#problem = `${path} cannot be read`
    }
  }

  async #ask(url: string, signal: AbortSignal): Promise<number | readonly CarbonHour[]> {
    const { fetch = globalThis.fetch } = this.#options
    trustPublicAuthorities()
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(URL_TIMEOUT_MS)]) })
    if (!response.ok) throw new Error(`the URL answered ${response.status}`)
    const given = parseCarbon(await boundedText(response))
    if (given === undefined) throw new Error('the URL gave neither a number nor a list by hour')
    this.#given = given
    return given
  }

  /** What makes no sense changes nothing: the hours that are known stay known. */
  #take(text: string, from: string): void {
    const given = parseCarbon(text.trim())
    this.#problem = given === undefined ? `${from} gives neither a number nor a list by hour` : undefined
    this.#given = given ?? this.#given
  }

  health(wallMs: number): readonly SourceHealth[] {
    const source = 'carbon'
    const { error } = this.#probe ?? {}
    const failed = error instanceof Error ? error.message : undefined
    const problem = this.#problem ?? failed
    if (problem !== undefined) return [{ source, state: 'faulty', reason: problem }]
    if (carbonAt(this.#given, wallMs) !== undefined) return [{ source, state: 'ok' }]
    return [{ source, state: 'absent', reason: 'Nobody has said the intensity of this hour' }]
  }

  [Symbol.dispose](): void {
    this.#subscription?.[Symbol.dispose]()
    this.#probe?.[Symbol.dispose]()
  }
}
