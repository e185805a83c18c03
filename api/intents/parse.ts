import { parseDocument } from 'yaml'
import { SluiceError } from '../errors.ts'
import { didYouMean, listed, shown, suggest } from '../suggest.ts'
import {
  HAND_BACK_ANNOTATION,
  IMPORTANCE_ANNOTATION,
  INTENT_BLOCK,
  INTENT_NAMES,
  INTENT_PREFIX,
  type Intent,
  type Meaning,
  NO_MEANING,
  POD_ANNOTATIONS,
  POLICIES,
  type Policy,
  SILENCE_ANNOTATION,
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
  /** Which annotation said so. */
  delayFrom?: string
  onBreach: 'move' | 'stay'
  readonly problems: SluiceError[]
}

/** Reads what a pod's annotations mean. Never throws: what is wrong is in `problems`, each naming its annotation. */
export function readMeaning(annotations: Readonly<Record<string, string>> | undefined): ReadMeaning {
  const draft: Draft = { intents: new Map(), weights: {}, maxDelayMs: 0, onBreach: 'move', problems: [] }
  let any = false
  for (const [key, value] of Object.entries(annotations ?? {})) {
    if (key === INTENT_BLOCK) readBlock(draft, value)
    // FLUIDOS compares names without case.
    else if (key.toLowerCase().startsWith(INTENT_PREFIX))
      readOne(draft, key.slice(INTENT_PREFIX.length).toLowerCase(), value, key, false)
    else if (WORDS_OF.has(key)) readWord(draft, key, value)
    else if (looksLikeIntent(key)) unknownAnnotation(draft, key)
    else continue
    any = true
  }
  if (!any) return { meaning: NO_MEANING, problems: [] }
  const { weights, maxDelayMs, onBreach, problems } = draft
  const intents = [...draft.intents.values()].map(({ intent }) => intent)
  return { meaning: { intents, weights, maxDelayMs, onBreach }, problems }
}

/** Annotations of ours that are one of a few words. */
const WORDS_OF: ReadonlyMap<string, readonly string[]> = new Map([
  [SILENCE_ANNOTATION, ['move', 'stay']],
  [HAND_BACK_ANNOTATION, ['never', 'allow']],
  [IMPORTANCE_ANNOTATION, ['deferrable', 'normal', 'critical']],
])

/** Another word than these would be taken for none at all, and nobody would know. */
function readWord(draft: Draft, key: string, value: string): void {
  const words = WORDS_OF.get(key) ?? []
  if (value !== '' && !words.includes(value))
    wrong(draft, key, { problem: `there is no ${shown(value)}`, remedy: didYouMean(value, words, 'There are') })
}

/** `fluidos-intents-battery`, `fluidis-intent-battery`, a domain before it: one that was meant to be an intent. */
function looksLikeIntent(key: string): boolean {
  if (/^fluidos[^/]*[-_.]/i.test(key) && (/intent/i.test(key) || !key.includes('/'))) return true
  if (/^f[a-z]{4,8}[-_]int[a-z]{2,5}[-_]/i.test(key) && suggest(key, FLUIDOS_NAMES) !== undefined) return true
  const [domain, word = ''] = key.split('/')
  if (domain !== OWN_DOMAIN || POD_ANNOTATIONS.some((each) => each === key)) return false
  // A word like ours that is none of ours: a pod that was to be kept near its device must not run anywhere.
  return suggest(word, OWN_WORDS) !== undefined
}

const FLUIDOS_NAMES = INTENT_NAMES.map((name) => INTENT_PREFIX + name)
const OWN_DOMAIN = 'sluice.dev'
const OWN_WORDS = POD_ANNOTATIONS.map((each) => each.slice(OWN_DOMAIN.length + 1))

function unknownAnnotation(draft: Draft, key: string): void {
  const hint = didYouMean(
    key.replace(/^fluidos[a-z.]*\//i, 'fluidos-'),
    [...FLUIDOS_NAMES, ...POD_ANNOTATIONS],
    'There are',
  )
  draft.problems.push(
    new SluiceError('SLUICE_INTENT_UNKNOWN', `no annotation is called '${key}'`, { field: key, hint }),
  )
}

function readOne(draft: Draft, name: string, value: string, from: string, soft: boolean): void {
  if (name === 'max-delay') {
    const ms = maxDelay(value)
    if (typeof ms !== 'number') return void wrong(draft, from, ms)
    if (draft.delayFrom !== undefined) return void twice(draft, name, from, draft.delayFrom)
    draft.delayFrom = from
    draft.maxDelayMs = ms
    return
  }
  if (!INTENT_NAMES.some((each) => each === name)) {
    // `max-latency`, as some of FLUIDOS' own pages have it.
    const meant = suggest(name, INTENT_NAMES) ?? INTENT_NAMES.find((each) => name.endsWith(`-${each}`))
    const at = from.toLowerCase().lastIndexOf(name)
    const hint =
      meant === undefined
        ? `There are ${listed(INTENT_NAMES)}.`
        : `Did you mean '${from.slice(0, Math.max(0, at))}${meant}'?`
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
  if (before !== undefined) return void twice(draft, name, from, before.from)
  draft.intents.set(name, { intent: read, from })
}

function twice(draft: Draft, name: string, from: string, before: string): void {
  const message = `${from} and ${before} both say '${name}'`
  draft.problems.push(new SluiceError('SLUICE_INTENT_TWICE', message, { field: from, hint: 'Keep one of them.' }))
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
          const from = `${INTENT_BLOCK}: ${key}.${name}`
          const value = plain(each)
          if (value === undefined) refuse(`${key}.${name}: ${shown(each)} is no value`, VALUE_FORM)
          else readOne(draft, name, value, from, key === 'prefer')
        }
      } else refuse(`${key}: ${shown(part)} is no map`, form)
    } else if (key === 'policy') readPolicy(draft, part, refuse)
    else if (key === 'maxDelay') readOne(draft, 'max-delay', plain(part) ?? '', `${INTENT_BLOCK}: maxDelay`, false)
    else if (key === 'onBreach') {
      if (part === 'move' || part === 'stay') draft.onBreach = part
      else refuse(`onBreach: ${shown(part)} is neither move nor stay`, 'Write move or stay.')
    } else refuse(`there is no '${key}'`, didYouMean(key, BLOCK_KEYS, 'There are'))
  }
}

const VALUE_FORM = 'Write a word or a number, or a list of words.'

/** A value of the block as an annotation would have it; undefined for one that no annotation has. */
function plain(given: unknown): string | undefined {
  const isPlain = (value: unknown) => ['string', 'number', 'boolean'].includes(typeof value)
  if (!Array.isArray(given)) return isPlain(given) ? String(given) : undefined
  return given.length > 0 && given.every(isPlain) ? given.join(',') : undefined
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
