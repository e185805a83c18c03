import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeImage, parseVersion } from '../../tools/image.ts'
import { developmentKey } from '../../tools/keys.ts'
import { signerOf } from '../../tools/sign.ts'
import { encodePacket } from '../../tools/smp/packet.ts'

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

/** What the mutations of a parser begin with: they find more in it than in nothing. */
export async function fuzzSeed(parser: string): Promise<Uint8Array> {
  if (parser === 'smp') return Buffer.concat([pieces(listImages()), pieces(echo())])
  // An answer in two parts, something that is no packet, and one more question.
  if (parser === 'tunnel') {
    const [whole, next, junk] = [Buffer.concat([Buffer.of(0x80), echo()]), Buffer.of(0x01), Buffer.of(0x80, 0xff)]
    return Buffer.concat([whole, next, junk, next, Buffer.concat([Buffer.of(0x80), listImages()])].map(pieces))
  }
  const signer = signerOf(developmentKey(), { production: false })
  const options = { payload: Buffer.alloc(64, 1), version: parseVersion('1.0.0'), securityCounter: 1 }
  return makeImage({ ...options, board: 'host', slotAddress: 0x8000, headerBytes: 32 }, signer)
}

/** As the fuzzers of SMP take packets: behind a byte with their length. */
const pieces = (bytes: Uint8Array): Buffer => Buffer.concat([Buffer.of(bytes.length), bytes])
const listImages = (): Uint8Array => encodePacket({ operation: 'read', group: 1, command: 0, body: {} }, 1)
const echo = (): Uint8Array =>
  encodePacket({ operation: 'write', group: 0, command: 0, body: { d: 'e'.repeat(225) } }, 2)
