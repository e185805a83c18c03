import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeImage, parseVersion } from '../../tools/image.ts'
import { developmentKey } from '../../tools/keys.ts'
import { signerOf } from '../../tools/sign.ts'

const checks = fileURLToPath(new URL('.', import.meta.url))
const core = join(checks, '..')

export interface FuzzTarget {
  /** Of a parser. */
  readonly name: string
  /** Longest input that means anything more, in bytes. */
  readonly maxBytes: number
  /** Arguments of clang that make the fuzzer. */
  compile(program: string): string[]
}

/**
 * Every parser of every `fuzz-NAME.c` beside this. Its comment says with `fuzz: a.c b.c` which files of the core it is
 * about, and with `parsers: x y` that SL_FUZZ_PARSER chooses one of several.
 */
export function fuzzTargets(): readonly FuzzTarget[] {
  return readdirSync(checks)
    .filter((file) => /^fuzz-.*\.c$/.test(file))
    .sort()
    .flatMap((file) => {
      const text = readFileSync(join(checks, file), 'utf8')
      const about = /fuzz: ([\w./\- ]+\.c)/.exec(text)?.[1]?.split(' ') ?? []
      const sources = [join(checks, file), ...about.map((each) => join(core, each))]
      const flags = ['-std=c11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fno-sanitize-recover=all']
      const target = (name: string, defines: readonly string[]): FuzzTarget => ({
        name,
        maxBytes: name === 'image' || name === 'settings' ? 3072 : 700,
        compile: (program) => [
          ...['-fsanitize=fuzzer,address,undefined', ...flags, ...defines, ...sources],
          ...['-o', program],
        ],
      })
      const parsers = /parsers: ([\w ]+)/.exec(text)?.[1]?.split(' ')
      return (
        parsers?.map((name, index) => target(name, [`-DSL_FUZZ_PARSER=${index}`])) ?? [
          target(file.slice('fuzz-'.length, -2), []),
        ]
      )
    })
}

/** An image that a board of the checks takes: where mutations find more than in nothing. */
export function fuzzSeed(): Promise<Uint8Array> {
  const signer = signerOf(developmentKey(), { production: false })
  const options = { payload: Buffer.alloc(64, 1), version: parseVersion('1.0.0'), securityCounter: 1 }
  return makeImage({ ...options, board: 'host', slotAddress: 0x8000, headerBytes: 32 }, signer)
}
