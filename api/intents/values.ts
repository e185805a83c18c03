import { didYouMean, shown } from '../suggest.ts'
import { durationMs } from '../twin/duration.ts'
import {
  type Comparison,
  INTENT_NAMES,
  type Intent,
  OUTSIDE_INTENTS,
  WORD_INTENTS,
  type WordIntent,
} from './intents.ts'
import { parseQuantity } from './quantity.ts'

/** A value that could not be read: what is wrong, and what to write instead. */
export interface ValueProblem {
  readonly problem: string
  readonly remedy: string
}

const PREFER = /^prefer\s+/i
const MAX_CHARS = 256
const YES = /^(true|yes)$/i
const NO = /^(false|no)$/i

const problem = (what: string, remedy: string): ValueProblem => ({ problem: what, remedy })

export const isProblem = (value: object): value is ValueProblem => 'problem' in value

/** Reads one intent. `prefer ` before the value, or `soft`, makes it a wish. Undefined: known, and decides nothing. */
export function readIntent(name: string, given: string, soft = false): Intent | ValueProblem | undefined {
  if (OUTSIDE_INTENTS.some((each) => each === name)) return undefined
  const text = given.trim()
  if (text === '') return problem('it is empty', `Give a value, or take it away.`)
  if (text.length > MAX_CHARS) return problem(`it is longer than ${MAX_CHARS} characters`, 'Write it shorter.')
  const hard = !soft && !PREFER.test(text)
  const value = text.replace(PREFER, '').trim()
  const common = { hard, text }
  if (isWord(name)) {
    if (name === 'cyber-deception' || name === 'magi') {
      if (NO.test(value)) return undefined
      if (YES.test(value)) return { name, anyOf: [name, name.replace('-', '_')], ...common }
    }
    const anyOf = value.split(',').map((each) => each.trim().toLowerCase())
    return anyOf.includes('')
      ? problem('a word is missing', 'Write one word, or several with commas.')
      : { name, anyOf, ...common }
  }
  switch (name) {
    case 'battery':
      return battery(value, common)
    case 'energy':
      return energy(value, common)
    case 'carbon-aware':
      return carbon(value, common)
    case 'latency': {
      const maxMs = milliseconds(value.replace(/^<=?\s*/, ''))
      if (maxMs === undefined) return bad(value, '20ms, or a number of milliseconds')
      return maxMs > 0
        ? { name, maxMs, ...common }
        : problem('no way takes 0 ms', 'Write what it may take, as in 20ms.')
    }
    case 'throughput': {
      const minBps = bitsPerSecond(value.replace(/^>=?\s*/, ''))
      return minBps === undefined ? bad(value, '5Mbit/s, or a number of Mbit/s') : { name, minBps, ...common }
    }
    case 'bandwidth-against':
      return against(value, common)
    case 'robot-status': {
      const anyOf = value.split(',').map((each) => each.trim().toLowerCase())
      return anyOf.includes('')
        ? problem('a status is missing', 'Write `idle`, or several with commas.')
        : { name, anyOf, ...common }
    }
    case 'robot-preferred':
    case 'tee-readiness':
      return truth(name, value, common)
    case 'cpu':
    case 'memory':
    case 'gpu':
      return amount(name, value, common)
    default:
      return problem(`no intent is called '${name}'`, didYouMean(name, INTENT_NAMES, 'There are'))
  }
}

type Common = Pick<Intent, 'hard' | 'text'>

const isWord = (name: string): name is WordIntent => WORD_INTENTS.some((each) => each === name)

const bad = (value: string, example: string): ValueProblem =>
  problem(`${shown(value)} cannot be read`, `Write for example: ${example}.`)

function battery(value: string, common: Common): Intent | ValueProblem {
  const percent = /^(?:>=?\s*)?(\d+(?:\.\d+)?)\s*%?$/.exec(value)
  if (percent !== null) {
    const minPercent = Number(percent[1])
    if (minPercent <= 100) return { name: 'battery', minPercent, ...common }
    return problem(`${minPercent} is more than a battery has`, 'Write a charge between 0 and 100 %.')
  }
  const left = span(value.replace(/^>=?\s*/, ''))
  return left === undefined ? bad(value, '40%, or 2h of work left') : { name: 'battery', minLeftMs: left, ...common }
}

function energy(value: string, common: Common): Intent | ValueProblem {
  if (/^(low|least|save|saving)$/i.test(value)) return { name: 'energy', ...common, hard: false }
  const watts = /^(?:<=?\s*)?(\d+(?:\.\d+)?)\s*W?$/i.exec(value)
  return watts === null ? bad(value, 'low, or <= 15W') : { name: 'energy', maxWatts: Number(watts[1]), ...common }
}

function carbon(value: string, common: Common): Intent | ValueProblem {
  if (/^(true|yes|low|clean)$/i.test(value)) return { name: 'carbon-aware', ...common, hard: false }
  const grams = /^(?:<=?\s*)?(\d+(?:\.\d+)?)\s*(?:g\/kWh)?$/i.exec(value)
  return grams === null
    ? bad(value, 'true, or <= 200 g/kWh')
    : { name: 'carbon-aware', maxGPerKWh: Number(grams[1]), ...common }
}

const COMPARISONS: readonly Comparison[] = ['<', '<=', '>', '>=', '=']

function against(value: string, common: Common): Intent | ValueProblem {
  const match = /^(<=?|>=?|=)\s*(\d+(?:\.\d+)?)\s*(ms|s)\s+([A-Za-z0-9][\w.-]{0,62})$/.exec(value)
  if (match === null) return bad(value, '<= 20ms hub')
  const [, sign, number, unit, point = ''] = match
  const compare = COMPARISONS.find((each) => each === sign)
  if (compare === undefined) return bad(value, '<= 20ms hub')
  return { name: 'bandwidth-against', compare, point, ms: Number(number) * (unit === 's' ? 1000 : 1), ...common }
}

function truth(
  name: 'robot-preferred' | 'tee-readiness',
  value: string,
  common: Common,
): Intent | ValueProblem | undefined {
  if (NO.test(value)) return undefined
  if (!YES.test(value)) return bad(value, 'true')
  return { name, ...common, hard: common.hard && name === 'tee-readiness' }
}

function amount(name: 'cpu' | 'memory' | 'gpu', value: string, common: Common): Intent | ValueProblem {
  const found = parseQuantity(value.replace(/^>=?\s*/, ''))
  if (found === undefined || found < 0) return bad(value, name === 'memory' ? '512Mi' : name === 'cpu' ? '500m' : '1')
  if (name === 'cpu') return { name, minMillis: found * 1000, ...common }
  if (name === 'gpu') return { name, min: found, ...common }
  // `512m` is half a byte in Kubernetes, and nobody means that.
  if (found > 0 && found < 1) return problem(`${shown(value)} is less than a byte`, 'Write for example: 512Mi.')
  return { name, minBytes: found, ...common }
}

function milliseconds(value: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s)?$/.exec(value)
  return match === null ? undefined : Number(match[1]) * (match[2] === 's' ? 1000 : 1)
}

const BITS: Readonly<Record<string, number>> = { k: 1e3, m: 1e6, g: 1e9, '': 1 }

function bitsPerSecond(value: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kMG]?)(?:bit\/s|bps))?$/i.exec(value)
  if (match === null) return undefined
  // FLUIDOS writes bare numbers, in Mbit/s.
  return Number(match[1]) * (match[2] === undefined ? 1e6 : (BITS[match[2].toLowerCase()] ?? 1))
}

/** `30m`, `2h`, `90s`. */
export function span(value: string): number | undefined {
  return /^\d+(\.\d+)?(ms|s|m|h|d)$/.test(value) ? durationMs(value) : undefined
}

/** How long a pod may wait: FLUIDOS's bare numbers are hours, as its forecasts are hourly. */
export function maxDelay(value: string): number | ValueProblem {
  const text = value.trim()
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 3_600_000 : span(text)
  if (ms === undefined) return bad(text, '2h, or a number of hours')
  return ms <= 7 * 86_400_000 ? ms : problem('it is longer than a week', 'Write at most 168h.')
}
