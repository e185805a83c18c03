import type { Output } from './output.ts'

/** One `--option` of a verb, as help shows it and as the command line is read. */
export interface OptionSpec {
  /** `flag` takes no value; the others are checked before the verb runs. */
  readonly kind: 'flag' | 'text' | 'duration' | 'port' | 'count'
  readonly help: string
  readonly short?: string
  /** Shown for the value, for example `FILE`. */
  readonly value?: string
  readonly repeatable?: boolean
  readonly default?: string
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

type OneValue<O extends OptionSpec> = O['kind'] extends 'flag'
  ? boolean
  : O['kind'] extends 'text'
    ? string
    : O['kind'] extends 'duration' | 'port' | 'count'
      ? number
      : never

/** Durations arrive in milliseconds, ports and counts as whole numbers. */
export type OptionValues<O extends OptionSpecs> = {
  readonly [K in keyof O]: O[K] extends { repeatable: true }
    ? readonly OneValue<O[K]>[]
    : O[K] extends { kind: 'flag' } | { default: string }
      ? OneValue<O[K]>
      : OneValue<O[K]> | undefined
}

export interface Positionals {
  /** Shown in usage, for example `DEVICE PROPERTY=VALUE...`. */
  readonly usage: string
  readonly min: number
  readonly max: number
}

export interface Example {
  readonly command: string
  readonly says: string
}

export interface Call<O extends OptionSpecs> {
  readonly options: OptionValues<O>
  readonly args: readonly string[]
  readonly out: Output
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal
  readonly env: Readonly<Record<string, string | undefined>>
}

/** One verb of the command. `run` resolves to the exit code. */
export interface Verb<O extends OptionSpecs = OptionSpecs> {
  readonly name: string
  readonly summary: string
  readonly description?: string
  readonly positionals?: Positionals
  readonly options: O
  readonly examples: readonly Example[]
  run(call: Call<O>): Promise<ExitCode>
}

/** Keeps the option types of a verb's own `run` while the table of verbs sees them all alike. */
export const defineVerb = <const O extends OptionSpecs>(verb: Verb<O>): Verb<O> => verb

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  /** A card or a board failed or went away while it was written. */
  cardFailed: 5,
  cardDiffers: 6,
  missing: 7,
  rolledBack: 8,
  interrupted: 130,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export const EXIT_WORDS: readonly (readonly [number, string])[] = [
  [0, 'done'],
  [1, 'failed'],
  [2, 'wrong usage or invalid input'],
  [3, 'agent, cloud or device not reachable'],
  [4, 'refused: rejected write, missing right, bad token'],
  [5, 'a card or board failed or went away while it was written'],
  [6, 'a card or board holds something else than was written'],
  [7, 'a program that this needs is not installed'],
  [8, 'an update did not come up and was rolled back'],
]
