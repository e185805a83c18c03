import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const checks = fileURLToPath(new URL('.', import.meta.url))
const core = join(checks, '..')

export interface FuzzTarget {
  readonly name: string
  /** Arguments of clang that make the fuzzer. */
  compile(program: string): string[]
}

/** Every `fuzz-NAME.c` beside this; its comment says with `fuzz: a.c b.c` which files of the core it is about. */
export function fuzzTargets(): readonly FuzzTarget[] {
  return readdirSync(checks)
    .filter((file) => /^fuzz-.*\.c$/.test(file))
    .sort()
    .map((file) => {
      const about = /fuzz: ([\w.\- ]+\.c)/.exec(readFileSync(join(checks, file), 'utf8'))?.[1]?.split(' ') ?? []
      const sources = [join(checks, file), ...about.map((each) => join(core, each))]
      const flags = ['-std=c11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fno-sanitize-recover=all']
      return {
        name: file.slice('fuzz-'.length, -2),
        compile: (program) => ['-fsanitize=fuzzer,address,undefined', ...flags, ...sources, '-o', program],
      }
    })
}
