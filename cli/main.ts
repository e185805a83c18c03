#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { SluiceError } from '../api/errors.ts'
import { readArguments } from './arguments.ts'
import { describeError, readFailure } from './failure.ts'
import { overview, verbHelp } from './help.ts'
import { createOutput, type Output, type Terminal } from './output.ts'
import { nearest } from './text.ts'
import { EXIT, type ExitCode } from './verb.ts'
import { ALL_VERBS, VERB_GROUPS, type VerbEntry } from './verbs.ts'

/** What the command needs from the outside; tests bring their own. */
export interface Surroundings {
  readonly stdout: Terminal
  readonly stderr: Terminal
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

/** Runs one command line and resolves to its exit code. Nothing is thrown: every failure is printed. */
export async function runCommand(argv: readonly string[], around: Surroundings): Promise<ExitCode> {
  // Known before anything is parsed, so that even a parse error is answered in the form that was asked for.
  const early = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : argv.length)
  const out = createOutput(around.stdout, around.stderr, {
    json: early.includes('--json'),
    color: !early.includes('--no-color'),
    env: around.env,
  })
  try {
    return await dispatch(argv, out, around)
  } catch (thrown) {
    if (around.signal.aborted) return EXIT.interrupted
    const { error, exitCode } = readFailure(thrown)
    if (out.json) around.stderr.write(`${JSON.stringify({ error })}\n`)
    else out.note(describeError(error, out.style))
    if (error.code === 'SLUICE_INTERNAL' && around.env['SLUICE_DEBUG'] !== undefined) console.error(error.cause)
    return exitCode
  }
}

async function dispatch(argv: readonly string[], out: Output, around: Surroundings): Promise<ExitCode> {
  const [first] = argv
  if (first === '--version' || first === '-V' || first === 'version') {
    out.line(version())
    return EXIT.ok
  }
  if (first === undefined || first === 'help' || first.startsWith('-')) {
    const words = argv.filter((word) => !word.startsWith('-') && word !== 'help')
    const bare = first?.startsWith('-') === true && !argv.some((word) => word === '--help' || word === '-h')
    if (bare) {
      throw new SluiceError('SLUICE_CLI_UNKNOWN_OPTION', `'${first}' stands where a verb should`, {
        hint: "The verb comes first: sluice VERB [options]. 'sluice help' lists them.",
      })
    }
    return showHelp(words, out)
  }
  const { entry, rest } = findVerb(argv)
  if (entry === undefined) return showHelp(rest, out)
  const verb = await entry.load()
  const { options, globals, args } = readArguments(verb, rest)
  if (globals.help) {
    out.line(verbHelp(verb, out.style, Math.min(out.width, 100)))
    return EXIT.ok
  }
  return verb.run({ options, args, out, signal: around.signal, env: around.env })
}

/** The verb with the longest name that these words begin with; a name has up to three. */
function longestVerb(words: readonly string[]): VerbEntry | undefined {
  for (const count of [3, 2, 1]) {
    const entry =
      words.length < count ? undefined : ALL_VERBS.find(({ name }) => name === words.slice(0, count).join(' '))
    if (entry !== undefined) return entry
  }
  return undefined
}

/**
 * `device ls` and the like are several words, also where the first is a verb of its own; a group alone (`device`,
 * `fw key --help`) has no entry, and its words are the rest.
 */
function findVerb(argv: readonly string[]): { entry: VerbEntry | undefined; rest: readonly string[] } {
  const [first = '', second, third] = argv
  const entry = longestVerb(argv)
  if (entry !== undefined) return { entry, rest: argv.slice(entry.name.split(' ').length) }
  if (membersOf([first]).length === 0) throw unknownVerb(first)
  if (nothingOrHelp(second)) return { entry: undefined, rest: [first] }
  if (membersOf([first, second]).length === 0) throw unknownVerb(`${first} ${second}`)
  if (nothingOrHelp(third)) return { entry: undefined, rest: [first, second] }
  throw unknownVerb(`${first} ${second} ${third}`)
}

const nothingOrHelp = (word: string | undefined): word is undefined | '--help' | '-h' =>
  word === undefined || word === '--help' || word === '-h'

const membersOf = (group: readonly string[]): readonly VerbEntry[] =>
  ALL_VERBS.filter((verb) => verb.name.startsWith(`${group.join(' ')} `))

function unknownVerb(word: string): SluiceError {
  const names = ALL_VERBS.map((verb) => verb.name)
  const groups = [...new Set(names.map((name) => name.split(' ')[0]!))]
  const near = nearest(word, word.includes(' ') ? names : [...names, ...groups])
  // `sluice ls` means `sluice device ls`.
  const byLastWord = names.filter((name) => name.endsWith(` ${word}`))
  const found = [...new Set([...byLastWord, ...near])].slice(0, 3)
  return new SluiceError('SLUICE_CLI_UNKNOWN_VERB', `There is no verb '${word}'`, {
    hint:
      found.length === 0
        ? "'sluice help' lists every verb."
        : `Did you mean ${found.map((name) => `'sluice ${name}'`).join(' or ')}?`,
  })
}

async function showHelp(words: readonly string[], out: Output): Promise<ExitCode> {
  const width = Math.min(out.width, 100)
  if (words.length === 0) {
    if (out.json) out.value(VERB_GROUPS.flatMap((group) => group.verbs.map(({ name, summary }) => ({ name, summary }))))
    else out.line(overview(VERB_GROUPS, out.style, width))
    return EXIT.ok
  }
  const name = words.slice(0, 2).join(' ')
  const entry = longestVerb(words)
  if (entry !== undefined) {
    out.line(verbHelp(await entry.load(), out.style, width))
    return EXIT.ok
  }
  const members = membersOf(words)
  if (members.length === 0) throw unknownVerb(name)
  out.line(overview([{ title: `sluice ${words.join(' ')}`, verbs: members }], out.style, width))
  return EXIT.ok
}

const version = (): string =>
  (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version

/** Entry of the process: Ctrl-C and SIGTERM end a verb in good order, a second Ctrl-C at once. */
async function main(): Promise<void> {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(EXIT.interrupted)
      stop.abort(new SluiceError('SLUICE_CLI_INTERRUPTED', 'Interrupted'))
    })
  }
  // `sluice device ls | head -1` closes the pipe early; that is no failure.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failure)
    })
  }
  process.exitCode = await runCommand(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: stop.signal,
  })
}

if (import.meta.main) await main()
