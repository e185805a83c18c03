import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { fuzzSeed, fuzzTargets } from './checks/fuzz-targets.ts'
import { CORE } from './checks/host-build.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-fuzz-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The long run is a command of its own: `npm run fuzz:firmware`. */
describe.skipIf(lacks('clang'))('hostile bytes', { timeout: 120_000 }, () => {
  it.each(fuzzTargets().map((target) => [target.name, target] as const))(
    'do no harm to the parser %s, in a short run of libFuzzer under ASan and UBSan',
    async (name, target) => {
      const program = join(folder, name)
      const corpus = join(folder, `${name}.corpus`)
      mkdirSync(corpus)
      writeFileSync(join(corpus, 'seed'), await fuzzSeed(name))
      await promisify(execFile)('clang', target.compile(program))
      const flags = ['-runs=20000', '-seed=1', `-max_len=${target.maxBytes}`, '-timeout=10']
      const { stderr } = await promisify(execFile)(program, [...flags, `-artifact_prefix=${folder}/`, corpus])
      expect(stderr).toMatch(/Done 2\d{4} runs/)
    },
  )
})

it('every fuzzer has a file of the core it is about', () => {
  const files = readdirSync(CORE)
  expect(fuzzTargets().length).toBeGreaterThanOrEqual(9)
  for (const target of fuzzTargets()) {
    const about = target.compile('x').filter((arg) => arg.startsWith(CORE) && !arg.includes('checks'))
    expect(about.length).toBeGreaterThan(0)
    for (const file of about) expect(files).toContain(file.slice(CORE.length))
  }
})
