import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../hil/random.ts'
import { compileForHost, hasCompiler, run } from './checks/host-build.ts'

const P = 2n ** 255n - 19n
const L = 2n ** 252n + 27742317777372353535851937790883648493n

interface Case {
  readonly key: Buffer
  readonly signature: Buffer
  readonly message: Buffer
}

const little = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse()
const big = (bytes: Buffer): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
const keyObject = (raw: Buffer): KeyObject =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]),
    format: 'der',
    type: 'spki',
  })
const rawKey = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' }).subarray(12)

function opinionOfNode({ key, signature, message }: Case): boolean {
  try {
    return verify(null, message, keyObject(key), signature)
  } catch {
    return false
  }
}

/** RFC 8032, section 7.1: secret key, public key, message, signature. */
const RFC_8032 = [
  [
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
  [
    'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
    'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    'dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704',
  ],
].map(([key, message, signature]) => ({
  key: Buffer.from(key ?? '', 'hex'),
  message: Buffer.from(message ?? '', 'hex'),
  signature: Buffer.from(signature ?? '', 'hex'),
}))

/** Encodings of the eight points whose order divides 8, and the ways to write them with y >= p. */
const SMALL_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
].map((hex) => Buffer.from(hex, 'hex'))

describe.skipIf(!hasCompiler())('Ed25519 verification and the hashes of the firmware', () => {
  const SOURCES = ['checks/ed25519-lines.c', 'ed25519.c', 'sha256.c', 'sha512.c']
  let program = ''
  // The sanitizers cost a factor of ten; what is only many cases of the same runs without them.
  let fast = ''
  beforeAll(async () => {
    program = await compileForHost(SOURCES)
    fast = await compileForHost(SOURCES, { sanitize: false })
  })

  async function opinions(cases: readonly Case[], check = program): Promise<boolean[]> {
    const lines = cases.map(
      ({ key, signature, message }) =>
        `${key.toString('hex')} ${signature.toString('hex')} ${message.length === 0 ? '-' : message.toString('hex')}\n`,
    )
    const answer = await run(check, [], lines.join(''))
    return answer
      .trim()
      .split('\n')
      .map((line) => line === '1')
  }

  it('accepts the signatures of RFC 8032 and refuses each with any one bit of it changed', async () => {
    expect(await opinions(RFC_8032)).toEqual(RFC_8032.map(() => true))
    const first = RFC_8032[2]
    if (first === undefined) throw new Error('no vector')
    const flipped = Array.from({ length: 512 }, (_, bit) => {
      const signature = Buffer.from(first.signature)
      signature[bit >> 3] = (signature[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return { ...first, signature }
    })
    expect((await opinions(flipped, fast)).filter((accepted) => accepted)).toEqual([])
  })

  it('agrees with node:crypto about thousands of signatures, good ones and spoilt ones', async () => {
    const random = seededRandom(20261122)
    const pick = (below: number) => Math.floor(random() * below)
    const keys = Array.from({ length: 8 }, () => generateKeyPairSync('ed25519'))
    const cases: Case[] = []
    for (let i = 0; i < 3000; i++) {
      const pair = keys[pick(keys.length)]
      if (pair === undefined) throw new Error('no key')
      const message = randomBytes(pick(200))
      const signature = sign(null, message, pair.privateKey)
      const key = Buffer.from(rawKey(pair.publicKey))
      const part = [undefined, undefined, key, signature, message][pick(5)]
      if (part !== undefined && part.length > 0) {
        const at = pick(part.length)
        part[at] = (part[at] ?? 0) ^ (1 << pick(8))
      }
      cases.push({ key, signature, message })
    }
    const ours = await opinions(cases, fast)
    const theirs = cases.map(opinionOfNode)
    expect(ours).toEqual(theirs)
    expect(theirs.filter((accepted) => accepted).length).toBeGreaterThan(1000)
    expect(theirs.filter((accepted) => !accepted).length).toBeGreaterThan(1000)
  }, 60_000)

  it('refuses S of L and more, although it fulfils the equation', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const message = Buffer.from('one signature, not two')
    const signature = sign(null, message, privateKey)
    const key = Buffer.from(rawKey(publicKey))
    const s = big(signature.subarray(32))
    const doubled = [s + L, s + 2n * L, s + 4n * L, s + 7n * L, s | (1n << 255n), L, 0n, L - 1n]
    const cases = doubled.map((value) => ({
      key,
      message,
      signature: Buffer.concat([signature.subarray(0, 32), little(value)]),
    }))
    expect(await opinions([{ key, message, signature }, ...cases])).toEqual([true, ...doubled.map(() => false)])
  })

  it('refuses keys of small order, under which anybody can sign', async () => {
    // R = [S]B - [k]A with A of order 1: R = [S]B verifies for every message.
    const neutral = SMALL_ORDER[0] ?? Buffer.alloc(32)
    const base = Buffer.from(`58${'66'.repeat(31)}`, 'hex')
    const forged = { key: neutral, signature: Buffer.concat([base, little(1n)]), message: Buffer.from('anything') }
    const zeroes = SMALL_ORDER.flatMap((key) =>
      SMALL_ORDER.map((r) => ({ key, signature: Buffer.concat([r, little(0n)]), message: Buffer.from('x') })),
    )
    const all = [forged, ...zeroes]
    expect(await opinions(all)).toEqual(all.map(() => false))
  })

  it('refuses public keys that are no canonical point, and R in any other encoding', async () => {
    const message = Buffer.from('m')
    const signature = Buffer.concat([SMALL_ORDER[0] ?? Buffer.alloc(32), little(0n)])
    const keys = [
      little(P), // y = 0 written as p
      little(P + 1n), // the neutral point, y = 1 written as p + 1
      Buffer.alloc(32, 0xff),
      Buffer.from(`01${'00'.repeat(30)}80`, 'hex'), // x = 0 with a sign
      little(2n), // no x belongs to this y
    ]
    const bad = keys.map((key) => ({ key, signature, message }))
    const r = {
      key: rawKey(generateKeyPairSync('ed25519').publicKey),
      signature: Buffer.concat([little(P + 1n), little(0n)]),
      message,
    }
    expect(await opinions([...bad, r])).toEqual([...keys.map(() => false), false])
  })

  it('never accepts what node:crypto refuses, whatever the bytes', async () => {
    const random = seededRandom(7)
    const cases: Case[] = []
    const edge = [
      ...SMALL_ORDER,
      little(P),
      little(P - 1n),
      little(L),
      little(L - 1n),
      little(0n),
      little(1n),
      little(L + 1n),
    ]
    const part = () =>
      random() < 0.7 ? (edge[Math.floor(random() * edge.length)] ?? Buffer.alloc(32)) : randomBytes(32)
    for (let i = 0; i < 2000; i++)
      cases.push({ key: part(), signature: Buffer.concat([part(), part()]), message: randomBytes(5) })
    const ours = await opinions(cases, fast)
    expect(ours.filter((accepted, i) => accepted && !opinionOfNode(cases[i] as Case))).toEqual([])
  }, 60_000)

  it('hashes messages of every length about a block like node:crypto', async () => {
    const messages = Array.from({ length: 300 }, (_, length) => randomBytes(length))
    const lines = messages.map((message) => `hash ${message.length === 0 ? '-' : message.toString('hex')}\n`).join('')
    const digest = (name: string, message: Buffer) => createHash(name).update(message).digest('hex')
    expect((await run(program, [], lines)).trim().split('\n')).toEqual(
      messages.map((message) => `${digest('sha256', message)} ${digest('sha512', message)}`),
    )
  })
})
