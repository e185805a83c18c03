import { parseArgs } from 'node:util'
import { SluiceError } from '../api/errors.ts'
import { durationMs } from '../api/twin/duration.ts'
import { nearest } from './text.ts'
import type { OptionSpec, OptionSpecs, OptionValues, Verb } from './verb.ts'

/** Options every verb has. */
export const GLOBAL_OPTIONS = {
  json: { kind: 'flag', help: 'Results as JSON on stdout, errors as JSON on stderr.' },
  'no-color': { kind: 'flag', help: 'No colours (also: NO_COLOR=1, or stdout is no terminal).' },
  help: { kind: 'flag', short: 'h', help: 'Show this help.' },
} as const satisfies OptionSpecs

export interface ParsedArguments<O extends OptionSpecs> {
  readonly options: OptionValues<O>
  readonly globals: OptionValues<typeof GLOBAL_OPTIONS>
  readonly args: readonly string[]
}

/**
 * Reads what follows the verb. Throws SLUICE_CLI_UNKNOWN_OPTION, SLUICE_CLI_OPTION_VALUE or SLUICE_CLI_ARGUMENTS, all of
 * them naming what would be right.
 */
export function readArguments<O extends OptionSpecs>(verb: Verb<O>, argv: readonly string[]): ParsedArguments<O> {
  const specs: OptionSpecs = { ...verb.options, ...GLOBAL_OPTIONS }
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: Object.fromEntries(
      Object.entries(specs).map(([name, spec]) => [
        name,
        {
          type: spec.kind === 'flag' ? ('boolean' as const) : ('string' as const),
          ...(spec.short === undefined ? {} : { short: spec.short }),
        },
      ]),
    ),
  })
  const values: Record<string, unknown> = {}
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.repeatable === true) values[name] = []
    else if (spec.kind === 'flag') values[name] = false
    else values[name] = spec.default === undefined ? undefined : convert(name, spec, spec.default)
  }
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined
    if (spec === undefined) throw unknownOption(verb, token.rawName, Object.keys(specs))
    if (spec.kind === 'flag') {
      if (token.value !== undefined) throw badValue(token.name, `takes no value`, `Write --${token.name} alone.`)
      values[token.name] = true
      continue
    }
    const missing = token.value === undefined || token.value === ''
    if (missing || (token.inlineValue === false && looksLikeOption(token.value))) {
      const shown = spec.value ?? 'VALUE'
      throw badValue(token.name, `needs a value`, `Write --${token.name} ${shown}.`)
    }
    const value = convert(token.name, spec, token.value)
    if (spec.repeatable === true) values[token.name] = [...(values[token.name] as unknown[]), value]
    else values[token.name] = value
  }
  const globals = values as OptionValues<typeof GLOBAL_OPTIONS>
  if (!globals.help) checkPositionals(verb, positionals)
  return { options: values as OptionValues<O>, globals, args: positionals }
}

const looksLikeOption = (value: string) => value.startsWith('-') && value !== '-'

function unknownOption(verb: Verb, rawName: string, known: readonly string[]): SluiceError {
  const [best] = nearest(rawName.replace(/^-+/, ''), known, 1)
  return new SluiceError('SLUICE_CLI_UNKNOWN_OPTION', `'sluice ${verb.name}' has no option '${rawName}'`, {
    hint: best === undefined ? `See 'sluice help ${verb.name}'.` : `Did you mean '--${best}'?`,
  })
}

const badValue = (name: string, problem: string, hint: string) =>
  new SluiceError('SLUICE_CLI_OPTION_VALUE', `Option '--${name}' ${problem}`, { hint })

function convert(name: string, spec: OptionSpec, text: string): string | number {
  switch (spec.kind) {
    case 'duration':
      try {
        return durationMs(text)
      } catch {
        throw badValue(name, `does not take '${text}'`, 'Write a number and a unit: 500ms, 20s, 5m, 1h or 7d.')
      }
    case 'port': {
      const port = Number(text)
      if (/^[0-9]{1,5}$/.test(text) && port <= 65_535) return port
      throw badValue(name, `does not take '${text}'`, 'Write a port from 0 to 65535; 0 takes any free one.')
    }
    case 'count': {
      const count = Number(text)
      if (/^[0-9]{1,9}$/.test(text)) return count
      throw badValue(name, `does not take '${text}'`, 'Write a whole number.')
    }
    default:
      return text
  }
}

function checkPositionals(verb: Verb, args: readonly string[]): void {
  const { usage, min, max } = verb.positionals ?? { usage: '', min: 0, max: 0 }
  if (args.length >= min && args.length <= max) return
  const surplus = args[max]
  const problem =
    args.length < min
      ? `'sluice ${verb.name}' needs ${usage}`
      : `'sluice ${verb.name}' does not know what to do with '${surplus}'`
  throw new SluiceError('SLUICE_CLI_ARGUMENTS', problem, {
    hint: `Usage: sluice ${verb.name}${usage === '' ? '' : ` ${usage}`} (examples: 'sluice help ${verb.name}').`,
  })
}
