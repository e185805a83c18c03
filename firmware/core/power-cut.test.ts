import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeImage, parseVersion } from '../tools/image.ts'
import { publicKeyOf } from '../tools/keys.ts'
import { signerOf } from '../tools/sign.ts'
import { compileForHost, hasCompiler, run } from './checks/host-build.ts'

const SLOTS = [0x8000, 0x9000]
const RELEASES = 8
const FORGED = 5

const SOURCES = [
  'checks/power-cut.c',
  'checks/flash-model.c',
  'checks/ed25519-memory.c',
  '../boot/choose.c',
  'cbor.c',
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
  'smp-image.c',
  'smp.c',
  'upload.c',
]

const REMEMBER = ['-Wl,--wrap=sl_ed25519_verify']

describe.skipIf(!hasCompiler())('an update that loses power', () => {
  const pair = generateKeyPairSync('ed25519')
  const stranger = generateKeyPairSync('ed25519')
  let folder = ''
  const files: string[] = []
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-cut-'))
    for (let release = 1; release <= RELEASES; release++) {
      for (const [index, slotAddress] of SLOTS.entries()) {
        const signer = signerOf((release === FORGED ? stranger : pair).privateKey, { production: true })
        // The key hash of the real key: the signature itself has to fail.
        const keyHash = signerOf(pair.privateKey, { production: true }).keyHash
        const payload = Buffer.alloc(700 + release, release * 16 + index)
        const version = parseVersion(`1.${release}.0`)
        // The last two may be taken back: the counter of what was there before is as high.
        const securityCounter = Math.min(release, 6)
        const options = { payload, version, securityCounter, board: 'host', slotAddress }
        const image = await makeImage(options, { keyHash, sign: (digest) => signer.sign(digest) })
        const path = join(folder, `${release}.${index}.img`)
        await writeFile(path, image)
        files.push(path)
      }
    }
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const sweep = async (program: string, firstSeed: number, seeds: number): Promise<Map<string, number[]>> => {
    const key = Buffer.from(publicKeyOf(pair.privateKey).raw).toString('hex')
    const lines = (await run(program, [String(firstSeed), String(seeds), key, ...files])).trim().split('\n')
    return new Map(lines.map((line) => [line.split(' ')[0] ?? '', line.split(' ').slice(1).map(Number)]))
  }

  it('starts a released image after a cut at every flash operation of every phase, and ends as if nothing had been', async () => {
    const program = await compileForHost(SOURCES, { sanitize: false, flags: REMEMBER })
    const phases = await sweep(program, 1, 4)
    expect([...phases.keys()]).toEqual([
      'update',
      'revert',
      'update-after-revert',
      'forged',
      'recovery',
      'newer',
      'back',
      'recalled',
      'settings',
      'counter',
    ])
    for (const [name, [operations = 0, runs]] of phases) {
      if (name === 'counter') expect(operations).toBe(6)
      else {
        const least = name === 'settings' ? 1000 : name === 'back' ? 1 : 350
        expect(operations, name).toBeGreaterThan(least)
        expect(runs, name).toBe(operations * 4)
      }
    }
  }, 240_000)

  it('touches no memory but its own on the way, whatever is torn', async () => {
    const program = await compileForHost(SOURCES, { flags: REMEMBER })
    expect((await sweep(program, 101, 1)).get('counter')).toEqual([6])
  }, 240_000)
})
