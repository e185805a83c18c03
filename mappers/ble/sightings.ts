import type { Clock } from '../../api/clock.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import type { Sighting } from '../sdk/mapper.ts'
import { DEFAULT_ADAPTER } from './adapter.ts'
import { type Advertised, parseAdvertised } from './codec/ad.ts'
import { ADVERT_FORMATS, type AdvertFormatName, companyOf, FORMATS } from './codec/formats.ts'
import { bindingOf } from './point.ts'
import type { Heard } from './transport.ts'

/** One address is told of at most this often, and so many a minute over all. */
const AGAIN_MS = 30_000
const PER_MINUTE = 120
/** Addresses remembered; the oldest is forgotten first. */
const REMEMBERED = 2048

/** Models known to the gateway: what a stranger may be compared with. */
export interface KnownModel {
  readonly name: string
  readonly spec: DeviceModelSpec
}

/** Tells of devices that nobody has configured, seldom enough that a crowd of strangers costs next to nothing. */
export class Sightings {
  readonly #clock: Clock
  readonly #tell: (sightings: readonly Sighting[]) => void
  readonly #seen = new Map<string, number>()
  #minute = 0
  #told = 0

  constructor(clock: Clock, tell: (sightings: readonly Sighting[]) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  stranger(heard: Heard, nowMs: number, adapter: string, models: readonly KnownModel[]): void {
    const last = this.#seen.get(heard.mac)
    if (last !== undefined && nowMs - last < AGAIN_MS) return
    const minute = Math.floor(nowMs / 60_000)
    if (minute !== this.#minute) {
      this.#minute = minute
      this.#told = 0
    }
    if (this.#told >= PER_MINUTE) return
    this.#seen.delete(heard.mac)
    this.#seen.set(heard.mac, nowMs)
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value ?? '')
    const sighting = describe(heard, adapter, models, this.#clock.now())
    if (sighting === undefined) return
    this.#told++
    this.#tell([sighting])
  }
}

/** Undefined for phones and the like: an address that changes by itself and no format that we know. */
function describe(heard: Heard, adapter: string, models: readonly KnownModel[], atMs: number): Sighting | undefined {
  const advertised = parseAdvertised(heard.data)
  const formats = formatsOf(heard.mac, advertised)
  const passing = heard.random && !isStaticRandom(heard.mac)
  if (formats.length === 0 && (passing || advertised.name === undefined)) return undefined
  const candidates = models
    .map((model) => resemblance(model, formats, advertised))
    .filter((candidate) => candidate !== undefined)
    .sort((a, b) => b.score - a.score)
    .slice(0, 5)
  return {
    id: heard.mac,
    address: {
      mac: heard.mac,
      ...(heard.random ? { addressType: 'random' } : {}),
      ...(adapter === DEFAULT_ADAPTER ? {} : { adapter }),
    },
    ...(advertised.name === undefined ? {} : { name: advertised.name }),
    candidates,
    facts: factsOf(heard, advertised, formats),
    ...(heard.rssiDbm === undefined ? {} : { rssiDbm: heard.rssiDbm }),
    atMs,
  }
}

interface Recognised {
  readonly format: AdvertFormatName
  readonly fields: readonly string[]
  readonly problem: string | undefined
}

function formatsOf(mac: string, advertised: Advertised): readonly Recognised[] {
  const context = { mac: Uint8Array.from(Buffer.from(mac.replaceAll(':', ''), 'hex')) }
  const found: Recognised[] = []
  for (const format of ADVERT_FORMATS) {
    const decoded = FORMATS[format].decode(advertised, context)
    if (decoded === undefined) continue
    if (decoded.ok) found.push({ format, fields: [...decoded.fields.keys()], problem: undefined })
    else if (decoded.refusal.code === 'no-key')
      found.push({ format, fields: [], problem: 'encrypted, needs a bindKey' })
  }
  return found
}

/** The two highest bits of a static random address are 1 (Bluetooth Core 5.4, Vol 6 Part B 1.3.2.1). */
const isStaticRandom = (mac: string): boolean => Number.parseInt(mac.slice(0, 2), 16) >> 6 === 3

function resemblance(
  { name, spec }: KnownModel,
  formats: readonly Recognised[],
  advertised: Advertised,
): { model: string; score: number; why: string } | undefined {
  let bound = 0
  const matched: string[] = []
  let why = ''
  for (const property of spec.properties) {
    const binding = bindingOf(property)
    if (binding === undefined) continue
    bound++
    const format = formats.find(({ format: one }) => one === binding.advert)
    if (format !== undefined && (format.problem !== undefined || format.fields.includes(binding.field ?? ''))) {
      matched.push(property.name)
      why = `its advertisements are ${FORMATS[format.format].title}${format.problem === undefined ? '' : ` (${format.problem})`}`
    } else if (
      binding.manufacturer !== undefined &&
      advertised.manufacturer.some((data) => companyOf(data) === binding.manufacturer)
    ) {
      matched.push(property.name)
      why = `it sends manufacturer data of company 0x${binding.manufacturer.toString(16).padStart(4, '0')}`
    }
  }
  if (bound === 0 || matched.length === 0) return undefined
  const score = Math.round((matched.length / bound) * 100) / 100
  return { model: name, score, why: `${why}, with ${matched.join(', ')}` }
}

function factsOf(heard: Heard, advertised: Advertised, formats: readonly Recognised[]): Record<string, string> {
  const facts: Record<string, string> = {
    payload: Buffer.from(heard.data.subarray(0, 64)).toString('hex'),
    connectable: heard.connectable ? 'yes' : 'no',
  }
  if (formats.length > 0) {
    facts['format'] = formats
      .map(({ format, problem }) => FORMATS[format].title + (problem === undefined ? '' : `, ${problem}`))
      .join('; ')
    const fields = formats.flatMap(({ fields: some }) => some)
    if (fields.length > 0) facts['fields'] = fields.slice(0, 32).join(', ')
  }
  const company = advertised.manufacturer[0]
  if (company !== undefined) facts['company'] = `0x${companyOf(company).toString(16).padStart(4, '0')}`
  if (advertised.serviceUuids.length > 0) facts['services'] = advertised.serviceUuids.slice(0, 16).join(', ')
  return facts
}
