import { type Clock, systemClock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import type { Sighting } from '../sdk/mapper.ts'
import { type Identified, type Identity, identify } from './identify.ts'
import { exceptionOf, type ModbusSession, openSerialSession, openTcpSession } from './session.ts'
import { catalogueModelOf, type SunSpecMap, shiftOf } from './sunspec.ts'

/** One way to talk: a serial line with its settings, or a host. */
export type ScanLine =
  | {
      readonly kind: 'serial'
      readonly path: string
      readonly baud: number
      readonly parity: 'none' | 'even' | 'odd'
    }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** A model that what answers may be: `eastron` and `sdm120` of `eastron-sdm120`. */
export interface KnownProduct {
  readonly model: string
  readonly vendor: string
  readonly product: string
}

export interface ScanOptions {
  /** Tried in this order; the rest is left out once one of them got an answer. */
  readonly lines: readonly ScanLine[]
  /** Serial 1 to 247, TCP 0 to 255. */
  readonly units: readonly number[]
  /** How long a unit may take to begin its answer. */
  readonly timeoutMs: number
  /** Try the other lines although one got answers. Default false. */
  readonly everyLine?: boolean
  readonly products?: readonly KnownProduct[]
}

export type ScanEvent =
  | {
      readonly kind: 'asking'
      readonly line: string
      readonly unit: number
      /** Units asked so far, and in all. */
      readonly done: number
      readonly total: number
    }
  | { readonly kind: 'found'; readonly line: string; readonly unit: number; readonly sighting: Sighting }
  /** Something a person should know: damaged or late answers. */
  | { readonly kind: 'note'; readonly line: string; readonly text: string }

export interface ScanDeps {
  readonly clock?: Clock
  /** Opens a line; default: the real one. */
  readonly open?: (line: ScanLine, clock: Clock) => ModbusSession
}

/** A gateway's own words for "nobody there" (application protocol, section 7: exceptions 0x0A and 0x0B). */
const NOBODY = new Set([10, 11])
const MAX_CANDIDATES = 5

/**
 * Asks every unit on every line whether it is there, by reading one register: an exception is an answer, too. Nothing is
 * written to any device. Ends when `signal` aborts, by its reason; throws the session's error when a line cannot be opened.
 */
export async function* scanModbus(
  options: ScanOptions,
  signal: AbortSignal,
  { clock = systemClock, open = openLine }: ScanDeps = {},
): AsyncGenerator<ScanEvent> {
  const total = options.lines.length * options.units.length
  let done = 0
  for (const line of options.lines) {
    const name = lineName(line)
    let session = open(line, clock)
    let found = 0
    try {
      for (const unit of options.units) {
        yield { kind: 'asking', line: name, unit, done: done++, total }
        const answer = await ask(session, unit, options.timeoutMs, signal)
        if (answer === 'closed') {
          // Some devices hang up on a unit they do not know.
          await session[Symbol.asyncDispose]()
          session = open(line, clock)
        } else if (answer === 'damaged') {
          const text = `unit ${unit} answered, but damaged: two devices with one number, or a fault on the line`
          yield { kind: 'note', line: name, text }
        } else if (answer === 'there') {
          found++
          const identified = await identify(session, unit, options.timeoutMs, signal)
          const sighting = sightingOf(line, unit, identified, options.products ?? [], clock.now())
          yield { kind: 'found', line: name, unit, sighting }
        }
      }
      const { lateFramesDropped, garbageBytes } = session.stats
      if (lateFramesDropped > 0) {
        const text = `${lateFramesDropped} answer(s) came too late: scan again with a longer time-out`
        yield { kind: 'note', line: name, text }
      } else if (found === 0 && garbageBytes > 0) {
        const text = 'there is traffic that fits no frame: another baud rate or parity, or another master'
        yield { kind: 'note', line: name, text }
      }
    } finally {
      await session[Symbol.asyncDispose]()
    }
    if (found > 0 && options.everyLine !== true) return
  }
}

type Answer = 'there' | 'silent' | 'damaged' | 'closed'

async function ask(session: ModbusSession, unit: number, timeoutMs: number, signal: AbortSignal): Promise<Answer> {
  const wasUp = session.state.phase === 'up'
  try {
    await session.request(unit, { fc: 3, address: 0, count: 1 }, { timeoutMs, signal })
    return 'there'
  } catch (thrown) {
    if (signal.aborted) throw thrown
    const error = toSluiceError(thrown)
    switch (error.code) {
      case 'SLUICE_MODBUS_EXCEPTION':
        return NOBODY.has(exceptionOf(thrown) ?? 0) ? 'silent' : 'there'
      case 'SLUICE_MODBUS_TIMEOUT':
        return 'silent'
      case 'SLUICE_MODBUS_CRC':
      case 'SLUICE_MODBUS_BAD_RESPONSE':
        return 'damaged'
      case 'SLUICE_MODBUS_LINK_DOWN':
        if (wasUp || session.stats.connects > 0) return 'closed'
        throw session.state.reason ?? error
      default:
        throw error
    }
  }
}

function openLine(line: ScanLine, clock: Clock): ModbusSession {
  if (line.kind === 'tcp') {
    const { host, port } = line
    // Silence is what most units of a scan answer with: it says nothing about the connection.
    const patient = { reconnectAfterTimeouts: 1_000_000, maxWindow: 1, connectTimeoutMs: 5000 }
    return openTcpSession({ host, port, framing: 'tcp', ...patient }, { clock })
  }
  const { path, baud, parity } = line
  return openSerialSession({ path, baud, parity, quietScope: 'unit' }, { clock })
}

const LETTER = { none: 'N', even: 'E', odd: 'O' } as const

export const lineName = (line: ScanLine): string =>
  line.kind === 'tcp' ? `tcp://${line.host}:${line.port}` : `${line.path} ${line.baud} 8${LETTER[line.parity]}1`

function sightingOf(
  line: ScanLine,
  unit: number,
  { identity, sunspec }: Identified,
  products: readonly KnownProduct[],
  atMs: number,
): Sighting {
  const name = identity['productName'] ?? identity['model'] ?? identity['product']
  return {
    id: line.kind === 'tcp' ? `${line.host}:${line.port}:${unit}` : `${line.path}:${unit}`,
    // What is a default stays out, so that the address compares with one that a person wrote.
    address: {
      ...(line.kind === 'tcp'
        ? { tcp: { host: line.host, ...(line.port === 502 ? {} : { port: line.port }) } }
        : {
            rtu: {
              port: line.path,
              ...(line.baud === 9600 ? {} : { baud: line.baud }),
              ...(line.parity === 'none' ? {} : { parity: line.parity }),
            },
          }),
      unit,
      ...(sunspec === undefined || shiftOf(sunspec) === 0 ? {} : { shift: shiftOf(sunspec) }),
    },
    ...(name === undefined ? {} : { name }),
    candidates: [...sunspecCandidate(sunspec, products), ...candidatesFor(identity, products)].slice(0, MAX_CANDIDATES),
    facts: { line: lineName(line), unit: `${unit}`, ...identity },
    atMs,
  }
}

/** What a device's own map says of its registers is worth more than what its name resembles. */
function sunspecCandidate(sunspec: SunSpecMap | undefined, products: readonly KnownProduct[]): Sighting['candidates'] {
  const found = sunspec === undefined ? undefined : catalogueModelOf(sunspec)
  if (found === undefined || !products.some(({ model }) => model === found.model)) return []
  return [{ ...found, score: 0.97 }]
}

const squeezed = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, '')

/** Models whose product, or at least vendor, the device names in its identification; best first. */
export function candidatesFor(identity: Identity, products: readonly KnownProduct[]): Sighting['candidates'] {
  // That a device speaks SunSpec says nothing of its product; its map does.
  const said = Object.entries(identity)
    .filter(([key]) => key !== 'format' && !key.startsWith('sunspec'))
    .map(([key, value]) => ({ key, value, text: squeezed(value) }))
  const naming = (word: string) => {
    const wanted = squeezed(word)
    return wanted.length < 3 ? undefined : said.find(({ text }) => text.includes(wanted))
  }
  return products
    .flatMap(({ model, vendor, product }) => {
      const byVendor = naming(vendor)
      // A short name is in many texts; with its vendor beside it, it means something.
      const byProduct = byVendor !== undefined || squeezed(product).length >= 4 ? naming(product) : undefined
      const reason = byProduct ?? byVendor
      if (reason === undefined) return []
      const score = byProduct === undefined ? 0.3 : byVendor === undefined ? 0.7 : 0.95
      return [{ model, score, why: `its ${reason.key} is '${reason.value}'`.slice(0, 200) }]
    })
    .sort((a, b) => b.score - a.score || a.model.localeCompare(b.model))
    .slice(0, MAX_CANDIDATES)
}
