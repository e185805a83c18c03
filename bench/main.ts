import { readdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import type { Bench, Figure } from './harness.ts'
import { significant } from './harness.ts'

const HELP = `npm run bench -- [NAME...] [--quick] [--json]

Runs the benchmarks of this folder, each beside its peer or its physical limit, and exits 1 when a budget is missed.

  --quick       under 40 s a benchmark
  --json        only the JSON lines, one a figure
  --no-budgets  a missed budget is told and does not fail the run: for machines that do other work
  --list        names of the benchmarks

Examples
  npm run bench
  npm run bench -- modbus-tcp modbus-rtu --quick
  npm run bench -- --json > figures.jsonl`

const folder = new URL('.', import.meta.url)
const NOT_BENCHES = new Set(['main.ts', 'harness.ts'])

async function available(): Promise<string[]> {
  const files = await readdir(folder)
  return files
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !NOT_BENCHES.has(file))
    .map((file) => file.slice(0, -3))
    .sort()
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    'no-budgets': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

function print(figure: Figure): void {
  const rounded = { ...figure, value: significant(figure.value) }
  const line = figure.ratio === undefined ? rounded : { ...rounded, ratio: significant(figure.ratio) }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** With what is inside of it: the causes, and what went wrong first when closing went wrong after it. */
function whole(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = error.stack ?? error.message
  const inside: [string, unknown][] = []
  if (error instanceof SuppressedError) inside.push(['first', error.suppressed], ['while closing', error.error])
  if (error instanceof AggregateError) for (const each of error.errors) inside.push(['one of them', each])
  if (error.cause !== undefined) inside.push(['because', error.cause])
  return [own, ...inside.map(([how, each]) => `${how}: ${whole(each)}`)].join('\n')
}

/**
 * The browser's driver takes these signals for itself and goes on: the benchmark would then fail for want of its
 * processes, which the signal ended (`timeout` sends it to the whole group), and be run once more.
 */
function endBySignal(): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      process.stderr.write(`ended by ${signal} before it was through\n`)
      process.exit(code)
    })
  }
}

/** A machine that stood still may break a measurement; it is taken once more. Undefined when that breaks too. */
async function measured(name: string, run: Bench, quick: boolean): Promise<readonly Figure[] | undefined> {
  for (const last of [false, true]) {
    try {
      return await run({ quick })
    } catch (error) {
      const what = last ? 'failed again' : 'failed, and is run once more'
      process.stderr.write(`${name} ${what}: ${whole(error)}\n`)
    }
  }
  return undefined
}

async function main(): Promise<number> {
  const names = await available()
  if (flags.help) {
    process.stdout.write(`${HELP}\n\nBenchmarks: ${names.join(', ')}\n`)
    return 0
  }
  if (flags.list) {
    process.stdout.write(`${names.join('\n')}\n`)
    return 0
  }
  const unknown = positionals.filter((name) => !names.includes(name))
  if (unknown.length > 0) {
    process.stderr.write(`no benchmark '${unknown.join("', '")}'; there are: ${names.join(', ')}\n`)
    return 2
  }
  let missed = 0
  let broken = 0
  for (const name of positionals.length > 0 ? positionals : names) {
    if (!flags.json) process.stderr.write(`-- ${name}\n`)
    const module: { run?: Bench } = await import(new URL(`${name}.ts`, folder).href)
    if (module.run === undefined) throw new Error(`bench/${name}.ts does not export run()`)
    const figures = await measured(name, module.run, flags.quick)
    figures?.forEach(print)
    broken += figures === undefined ? 1 : 0
    missed += figures?.filter(({ ok }) => !ok).length ?? 0
  }
  if (!flags.json) process.stderr.write(missed === 0 ? 'every budget kept\n' : `${missed} budgets missed\n`)
  if (broken > 0) process.stderr.write(`${broken} benchmarks could not be run\n`)
  return broken > 0 || (missed > 0 && !flags['no-budgets']) ? 1 : 0
}

endBySignal()
process.exit(await main())
