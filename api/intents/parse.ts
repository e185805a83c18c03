import { parseDocument } from 'yaml'
import { SluiceError } from '../errors.ts'
import { didYouMean, listed, shown, suggest } from '../suggest.ts'
import {
  INTENT_BLOCK,
  INTENT_NAMES,
  INTENT_PREFIX,
  type Intent,
  type Meaning,
  NO_MEANING,
  POD_ANNOTATIONS,
  POLICIES,
  type Policy,
  type Weights,
} from './intents.ts'
import { isProblem, maxDelay, readIntent, type ValueProblem } from './values.ts'

export interface ReadMeaning {
  readonly meaning: Meaning
  /** What could not be read; a pod with any of these is not placed, because nobody knows what was meant. */
  readonly problems: readonly SluiceError[]
}

const BLOCK_KEYS = ['require', 'prefer', 'policy', 'maxDelay', 'onBreach'] as const
const MAX_BLOCK_CHARS = 8192
const MAX_WEIGHT = 10

interface Draft {
  readonly intents: Map<string, { intent: Intent; from: string }>
  weights: Weights
  maxDelayMs: number
  onBreach: 'move' | 'stay'
  readonly problems: SluiceError[]
}

/** Reads what a pod's annotations mean. Never throws: what is wrong is in `problems`, each naming its annotation. */
export function readMeaning(annotations: Readonly<Record<string, string>> | undefined): ReadMeaning {
  const draft: Draft = { intents: new Map(), weights: {}, maxDelayMs: 0, onBreach: 'move', problems: [] }
  let any = false
  for (const [key, value] of Object.entries(annotations ?? {})) {
    if (key === INTENT_BLOCK) readBlock(draft, value)
    else if (key.startsWith(INTENT_PREFIX)) readOne(draft, key.slice(INTENT_PREFIX.length), value, key, false)
    else if (looksLikeIntent(key)) unknownAnnotation(draft, key)
    else continue
    any = true
  }
  if (!any) return { meaning: NO_MEANING, problems: [] }
  const { weights, maxDelayMs, onBreach, problems } = draft
  const intents = [...draft.intents.values()].map(({ intent }) => intent)
  return { meaning: { intents, weights, maxDelayMs, onBreach }, problems }
}

/** `fluidos-intents-battery`, `fluidos-intnet-battery`: one that was meant to be an intent. */
function looksLikeIntent(key: string): boolean {
  if (/^fluidos-?\w*-/.test(key)) return true
  const [domain, word = ''] = key.split('/')
  if (domain !== OWN_DOMAIN || POD_ANNOTATIONS.some((each) => each === key)) return false
  // A word like ours that is none of ours: a pod that was to be kept near its device must not run anywhere.
  return suggest(word, OWN_WORDS) !== undefined
}

const OWN_DOMAIN = 'sluice.dev'
const OWN_WORDS = POD_ANNOTATIONS.map((each) => each.slice(OWN_DOMAIN.length + 1))

function unknownAnnotation(draft: Draft, key: string): void {
  const candidates = [...INTENT_NAMES.map((name) => INTENT_PREFIX + name), ...POD_ANNOTATIONS]
  const hint = didYouMean(key, candidates, 'There are')
  draft.problems.push(
    new SluiceError('SLUICE_INTENT_UNKNOWN', `no annotation is called '${key}'`, { field: key, hint }),
  )
}

function readOne(draft: Draft, name: string, value: string, from: string, soft: boolean): void {
  if (name === 'max-delay') {
    const ms = maxDelay(value)
    if (typeof ms === 'number') draft.maxDelayMs = ms
    else wrong(draft, from, ms)
    return
  }
  if (!INTENT_NAMES.some((each) => each === name)) {
    const meant = suggest(name, INTENT_NAMES)
    const hint =
      meant === undefined ? `There are ${listed(INTENT_NAMES)}.` : `Did you mean '${from.replace(name, meant)}'?`
    draft.problems.push(
      new SluiceError('SLUICE_INTENT_UNKNOWN', `${from}: no intent is called '${name}'`, { field: from, hint }),
    )
    return
  }
  const read = readIntent(name, value, soft)
  if (read === undefined) return
  if (isProblem(read)) {
    wrong(draft, from, read)
    return
  }
  const before = draft.intents.get(name)
  if (before !== undefined) {
    const message = `${from} and ${before.from} both say '${name}'`
    const hint = 'Keep one of them.'
    draft.problems.push(new SluiceError('SLUICE_INTENT_TWICE', message, { field: from, hint }))
    return
  }
  draft.intents.set(name, { intent: read, from })
}

function wrong(draft: Draft, from: string, { problem, remedy }: ValueProblem): void {
  draft.problems.push(new SluiceError('SLUICE_INTENT_VALUE', `${from}: ${problem}`, { field: from, hint: remedy }))
}

/** The block, as YAML or JSON. */
function readBlock(draft: Draft, text: string): void {
  const refuse = (message: string, hint: string) =>
    draft.problems.push(
      new SluiceError('SLUICE_INTENT_BLOCK', `${INTENT_BLOCK}: ${message}`, { field: INTENT_BLOCK, hint }),
    )
  const form = 'Write for example: {require: {battery: 40%}, prefer: {energy: low}}.'
  if (text.length > MAX_BLOCK_CHARS)
    return void refuse(`it is longer than ${MAX_BLOCK_CHARS} characters`, 'Write it shorter.')
  const document = parseDocument(text, { prettyErrors: true })
  const fault = document.errors[0]
  if (fault !== undefined) return void refuse(fault.message.split('\n')[0] ?? 'it is not YAML', form)
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 0 })
  } catch {
    return void refuse('it has aliases', form)
  }
  if (!isMap(value)) return void refuse(`${shown(value)} is no map`, form)
  for (const [key, part] of Object.entries(value)) {
    if (key === 'require' || key === 'prefer') {
      if (isMap(part)) {
        for (const [name, each] of Object.entries(part)) {
          readOne(
            draft,
            name,
            Array.isArray(each) ? each.join(',') : String(each),
            `${INTENT_BLOCK}: ${key}.${name}`,
            key === 'prefer',
          )
        }
      } else refuse(`${key}: ${shown(part)} is no map`, form)
    } else if (key === 'policy') readPolicy(draft, part, refuse)
    else if (key === 'maxDelay') readOne(draft, 'max-delay', String(part), `${INTENT_BLOCK}: maxDelay`, false)
    else if (key === 'onBreach') {
      if (part === 'move' || part === 'stay') draft.onBreach = part
      else refuse(`onBreach: ${shown(part)} is neither move nor stay`, 'Write move or stay.')
    } else refuse(`there is no '${key}'`, didYouMean(key, BLOCK_KEYS, 'There are'))
  }
}

/** `battery`, `[battery, cost]`, or `{battery: 2, cost: 1}`. */
function readPolicy(draft: Draft, given: unknown, refuse: (message: string, hint: string) => void): void {
  const entries: [string, unknown][] = isMap(given)
    ? Object.entries(given)
    : (Array.isArray(given) ? given : [given]).map((name): [string, unknown] => [String(name), 1])
  const weights: Partial<Record<Policy, number>> = {}
  for (const [name, weight] of entries) {
    const policy = POLICIES.find((each) => each === name)
    if (policy === undefined) refuse(`no policy is called '${name}'`, didYouMean(name, POLICIES, 'There are'))
    else if (typeof weight !== 'number' || !(weight > 0 && weight <= MAX_WEIGHT)) {
      refuse(`policy.${name}: ${shown(weight)} is no weight`, `Write a number above 0, ${MAX_WEIGHT} at most.`)
    } else weights[policy] = weight
  }
  draft.weights = weights
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
