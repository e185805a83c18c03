import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { type FuzzTarget, fuzzSeed, fuzzTargets } from '../firmware/core/checks/fuzz-targets.ts'

const HELP = `npm run fuzz:firmware -- [TARGET...] [--runs N]

Runs libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer on every parser of the firmware, N inputs each
(default 10000000), and prints a table. An input that breaks one is printed in hexadecimal.

Examples
  npm run fuzz:firmware
  npm run fuzz:firmware -- rtu --runs 100000`

async function main(): Promise<number> {
  const { values: flags, positionals } = parseArgs({
    allowPositionals: true,
    options: { runs: { type: 'string', default: '10000000' }, help: { type: 'boolean', short: 'h', default: false } },
  })
  const targets = fuzzTargets()
  const unknown = positionals.filter((name) => !targets.some((target) => target.name === name))
  if (flags.help || unknown.length > 0 || !(Number(flags.runs) > 0)) {
    process.stdout.write(`${HELP}\n\nTargets: ${targets.map(({ name }) => name).join(', ')}\n`)
    return flags.help ? 0 : 2
  }
  const folder = await mkdtemp(join(tmpdir(), 'sluice-fuzz-'))
  try {
    const findings: string[] = []
    process.stdout.write(row('parser', 'runs', 'seconds', 'runs/s', 'edges', 'found'))
    for (const target of targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
      const program = join(folder, basename(target.name))
      await promisify(execFile)('clang', target.compile(program))
      const startMs = performance.now()
      const { runs, edges, finding } = await fuzz(target, program, folder, Number(flags.runs))
      const seconds = (performance.now() - startMs) / 1000
      const rate = runs === 0 ? '-' : (runs / seconds).toFixed(0)
      process.stdout.write(
        row(target.name, `${runs}`, seconds.toFixed(1), rate, `${edges}`, finding ? 'yes' : 'nothing'),
      )
      if (finding !== undefined) findings.push(`\n${target.name} ${finding}\n`)
    }
    process.stdout.write(findings.join(''))
    return findings.length > 0 ? 1 : 0
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function row(name: string, ...cells: readonly string[]): string {
  return `${name.padEnd(10)}${cells.map((cell) => cell.padStart(11)).join('')}\n`
}

interface Fuzzed {
  /** Inputs that the parser was given; 0 where it did not come to an end. */
  readonly runs: number
  /** Edges of the program that were reached, by libFuzzer's count. */
  readonly edges: number
  /** The input that broke it, and what was said. */
  readonly finding: string | undefined
}

async function fuzz({ name, maxBytes }: FuzzTarget, program: string, folder: string, runs: number): Promise<Fuzzed> {
  const found = join(folder, 'found')
  const corpus = join(folder, `${name}.corpus`)
  await mkdir(corpus)
  await writeFile(join(corpus, 'seed'), await fuzzSeed(name))
  try {
    const flags = [`-runs=${runs}`, `-exact_artifact_path=${found}`, `-max_len=${maxBytes}`, '-timeout=10']
    const { stderr } = await promisify(execFile)(program, [...flags, corpus], { maxBuffer: 256 * 1024 * 1024 })
    const [, done = 0, edges = 0] = /#(\d+)\s+DONE\s+cov: (\d+)/.exec(stderr) ?? []
    return { runs: Number(done), edges: Number(edges), finding: undefined }
  } catch (error) {
    const input = await readFile(found).catch(() => Buffer.alloc(0))
    const said = error instanceof Error ? error.message.slice(-3000) : String(error)
    return { runs: 0, edges: 0, finding: `broke on ${input.toString('hex')}\n${said}` }
  }
}

process.exit(await main())
