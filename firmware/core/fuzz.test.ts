import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeImage, parseVersion } from '../tools/image.ts'
import { developmentKey } from '../tools/keys.ts'
import { signerOf } from '../tools/sign.ts'
import { compileForHost, hasCompiler, run } from './checks/host-build.ts'

const SOURCES = [
  'checks/fuzz.c',
  'checks/flash-model.c',
  '../boot/choose.c',
  'cbor.c',
  'cobs.c',
  'crc32.c',
  'ed25519.c',
  'image-signature.c',
  'image.c',
  'marks.c',
  'security-counter.c',
  'settings.c',
  'sha256.c',
  'sha512.c',
  'slots.c',
  'smp-console.c',
  'smp-image.c',
  'smp-tunnel.c',
  'smp.c',
  'upload.c',
]

/** `SLUICE_FUZZ_RUNS=10000000 vitest run firmware/core/fuzz` is the long run. */
const RUNS = process.env['SLUICE_FUZZ_RUNS'] ?? '30000'

describe.skipIf(!hasCompiler('clang', 'clang libclang-rt-14-dev'))('hostile bytes', () => {
  it(`do no harm to any parser of updates, in ${RUNS} runs of libFuzzer under ASan and UBSan`, async () => {
    const flags = ['-fsanitize=fuzzer']
    const program = await compileForHost(SOURCES, { compiler: 'clang', flags })
    const corpus = await mkdtemp(join(tmpdir(), 'sluice-corpus-'))
    try {
      const signer = signerOf(developmentKey(), { production: false })
      const options = { payload: Buffer.alloc(64, 1), version: parseVersion('1.0.0'), securityCounter: 1 }
      const image = await makeImage({ ...options, board: 'host', slotAddress: 0x8000, headerBytes: 32 }, signer)
      for (let parser = 0; parser < 7; parser++)
        await writeFile(join(corpus, `${parser}`), Buffer.concat([Buffer.from([parser]), image]))
      const output = await run('/bin/sh', [
        '-c',
        '"$0" "$@" 2>&1',
        program,
        `-runs=${RUNS}`,
        '-max_len=2048',
        '-timeout=10',
        corpus,
      ])
      expect(output).toMatch(/Done \d+ runs/)
    } finally {
      await rm(corpus, { recursive: true, force: true })
    }
  }, 1_800_000)
})
