import { spawn } from 'node:child_process'
import { glob, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const HELP = `npm run fuzz -- [FOLDER...] [--seconds N]

Runs every property test for N seconds (default 30) instead of a fixed number of runs, with a new seed each time.
A failure prints the seed and path that reproduce it.

Examples
  npm run fuzz
  npm run fuzz -- mappers/modbus --seconds 600`

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '30' }, help: { type: 'boolean', short: 'h', default: false } },
})

async function propertyTests(folders: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const folder of folders) {
    for await (const file of glob(`${folder}/**/*.test.ts`)) {
      if ((await readFile(file, 'utf8')).includes("from 'fast-check'")) files.push(file)
    }
  }
  return files.sort()
}

async function main(): Promise<number> {
  if (flags.help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const seconds = Number(flags.seconds)
  if (!(seconds > 0)) {
    process.stderr.write(`--seconds ${flags.seconds} is not a time; give a number of seconds above 0\n`)
    return 2
  }
  const folders =
    positionals.length > 0
      ? positionals
      : ['api', 'mappers', 'agent', 'cloudcore', 'cli', 'hil', 'firmware', 'node-red']
  const files = await propertyTests(folders)
  if (files.length === 0) {
    process.stderr.write(`no property tests in ${folders.join(', ')}\n`)
    return 2
  }
  const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url))
  // One test may hold several properties, each of which takes the time.
  const timeoutMs = seconds * 10_000 + 60_000
  const argv = [vitest, 'run', `--testTimeout=${timeoutMs}`, ...files]
  const child = spawn(process.execPath, argv, { stdio: 'inherit', env: { ...process.env, FUZZ_SECONDS: `${seconds}` } })
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)))
}

process.exit(await main())
