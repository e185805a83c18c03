import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { type FuzzTarget, fuzzSeed, fuzzTargets } from '../firmware/core/checks/fuzz-targets.ts'

const HELP = `npm run fuzz:firmware -- [TARGET...] [--runs N]

Runs libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer on every parser of the firmware, N inputs each
(default 10000000). An input that breaks one is printed in hexadecimal.

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
    let broken = 0
    for (const target of targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
      const program = join(folder, basename(target.name))
      await promisify(execFile)('clang', target.compile(program))
      const startMs = performance.now()
      const failure = await fuzz(target, program, folder, Number(flags.runs))
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
      process.stdout.write(`${target.name}: ${failure ?? `${flags.runs} runs in ${seconds} s, nothing found`}\n`)
      broken += failure === undefined ? 0 : 1
    }
    return broken > 0 ? 1 : 0
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function fuzz(
  { name, maxBytes }: FuzzTarget,
  program: string,
  folder: string,
  runs: number,
): Promise<string | undefined> {
  const found = join(folder, 'found')
  const corpus = join(folder, `${name}.corpus`)
  await mkdir(corpus)
  await writeFile(join(corpus, 'seed'), await fuzzSeed())
  try {
    const flags = [`-runs=${runs}`, `-exact_artifact_path=${found}`, `-max_len=${maxBytes}`, '-timeout=10']
    await promisify(execFile)(program, [...flags, corpus], { maxBuffer: 256 * 1024 * 1024 })
    return undefined
  } catch (error) {
    const input = await readFile(found).catch(() => Buffer.alloc(0))
    const said = error instanceof Error ? error.message.slice(-3000) : String(error)
    return `broke on ${input.toString('hex')}\n${said}`
  }
}

process.exit(await main())
