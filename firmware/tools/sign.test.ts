import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { formatVersion, ImageError, type ImageOptions, makeImage, parseImage, parseVersion } from './image.ts'
import { developmentKey, newKeys, publicKeyOf, readKeys, readPrivateKey, readPublicKey, rotateKeys } from './keys.ts'
import { type ImageExpectations, signerOf, verifyImage } from './sign.ts'

const key = generateKeyPairSync('ed25519').privateKey
const signer = signerOf(key, { production: true })
const options: ImageOptions = {
  payload: Buffer.from('vectors and code of some length'),
  version: parseVersion('1.2.3'),
  securityCounter: 4,
  board: 'rp2040',
  slotAddress: 0x10008000,
  modelHash: Buffer.from('0011223344556677', 'hex'),
}
const expected: ImageExpectations = { keys: [publicKeyOf(key)], production: true }

function refusal(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof ImageError) return error.refusal
    throw error
  }
}

const codeOf = async (action: Promise<unknown>): Promise<string | undefined> =>
  action.then(
    () => undefined,
    (error: unknown) => (error instanceof SluiceError ? error.code : String(error)),
  )

describe('images', () => {
  it('say after signing what was put into them', async () => {
    const image = verifyImage(await makeImage(options, signer), {
      ...expected,
      board: 'rp2040',
      slotAddress: 0x10008000,
    })
    expect(image).toMatchObject({ version: options.version, securityCounter: 4, board: 'rp2040', headerBytes: 512 })
    expect(Buffer.from(image.payload.subarray(0, options.payload.length))).toEqual(options.payload)
    expect(image.modelHash).toEqual(options.modelHash)
  })

  it('are refused for each wrong expectation with its own reason', async () => {
    const image = await makeImage(options, signer)
    const against = (more: Partial<ImageExpectations>) => refusal(() => verifyImage(image, { ...expected, ...more }))
    expect(against({})).toBeUndefined()
    expect(against({ board: 'microbit' })).toBe('board')
    expect(against({ slotAddress: 0 })).toBe('slot')
    expect(against({ securityCounter: 5 })).toBe('rollback')
    expect(against({ version: parseVersion('1.2.4') })).toBe('downgrade')
    expect(against({ keys: [publicKeyOf(generateKeyPairSync('ed25519').privateKey)] })).toBe('key')
    expect(() => verifyImage(image, { ...expected, modelHash: Buffer.alloc(8) })).toThrow('another device model')
  })

  it('never pass with any one byte changed', async () => {
    const image = await makeImage(options, signer)
    fc.assert(
      fc.property(fc.nat(image.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Uint8Array.from(image)
        damaged[at] = (damaged[at] ?? 0) ^ change
        expect(refusal(() => verifyImage(damaged, expected))).toBeDefined()
      }),
      { numRuns: 400 },
    )
  })

  it('are read without harm whatever the bytes are', async () => {
    const image = await makeImage({ ...options, headerBytes: 32 }, signer)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(image.length), (noise, cut) => {
        const mixed = Buffer.concat([image.subarray(0, cut), noise])
        try {
          parseImage(mixed)
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('are not made with the development key for a production board, nor accepted by one', async () => {
    expect(() => signerOf(developmentKey(), { production: true })).toThrow('development key')
    const image = await makeImage(options, signerOf(developmentKey(), { production: false }))
    const keys = [publicKeyOf(developmentKey())]
    expect(refusal(() => verifyImage(image, { keys, production: true }))).toBe('development-key')
    expect(refusal(() => verifyImage(image, { keys, production: false }))).toBeUndefined()
  })

  it('pass with the next key as with the current one', async () => {
    const next = generateKeyPairSync('ed25519').privateKey
    const image = await makeImage(options, signerOf(next, { production: true }))
    expect(
      refusal(() => verifyImage(image, { ...expected, keys: [publicKeyOf(key), publicKeyOf(next)] })),
    ).toBeUndefined()
  })

  it('have versions that are read as they are written', () => {
    const byte = fc.integer({ min: 0, max: 255 })
    const version = fc.record({
      major: byte,
      minor: byte,
      revision: fc.integer({ min: 0, max: 65_535 }),
      build: fc.integer({ min: 0, max: 0xffff_ffff }),
    })
    fc.assert(
      fc.property(version, (each) => {
        expect(parseVersion(formatVersion(each))).toEqual(each)
      }),
    )
    for (const bad of ['', '1', '256.0.0', '1.2.70000', 'v1.2.3', '1.2.3-rc1'])
      expect(() => parseVersion(bad)).toThrow(SluiceError)
  })
})

describe('keys', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-keys-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('are written for their owner only, and never over another one', async () => {
    const own = join(folder, 'own')
    const { current } = await newKeys(own)
    expect((await stat(join(own, 'current.pem'))).mode & 0o777).toBe(0o600)
    expect((await stat(own)).mode & 0o077).toBe(0)
    expect(await codeOf(newKeys(own))).toBe('SLUICE_FW_KEY_EXISTS')
    expect((await readKeys(own)).current.raw).toEqual(current.raw)
    expect((await readPublicKey(join(own, 'current.pub.pem'))).raw).toEqual(current.raw)
  })

  it('are not used when others may read them', async () => {
    const open = join(folder, 'open')
    await newKeys(open)
    await chmod(join(open, 'current.pem'), 0o640)
    expect(await codeOf(readKeys(open))).toBe('SLUICE_FW_KEY_MODE')
  })

  it('rotate from next to current, and keep the retired one', async () => {
    const own = join(folder, 'rotate')
    const first = await newKeys(own)
    const second = await rotateKeys(own, '2026-01-01')
    expect(second.current.raw).toEqual(first.current.raw)
    const third = await rotateKeys(own, '2026-06-01')
    expect(third.current.raw).toEqual(second.next?.raw)
    expect(third.next?.raw).not.toEqual(third.current.raw)
    expect(publicKeyOf(await readPrivateKey(join(own, 'retired-2026-06-01.pem'))).raw).toEqual(first.current.raw)
    expect(await codeOf(rotateKeys(own, '2026-06-01'))).toBe('SLUICE_FW_KEY_EXISTS')
    expect((await readPublicKey(join(own, 'current.pub.pem'))).raw).toEqual(third.current.raw)
  })

  it('of another kind, or no key at all, are named without a word of their content', async () => {
    const path = join(folder, 'rsa.pem')
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'pem', type: 'pkcs8' })
    await writeFile(path, rsa, { mode: 0o600 })
    expect(await codeOf(readPrivateKey(path))).toBe('SLUICE_FW_KEY')
    await writeFile(path, 'secret words', { mode: 0o600 })
    await expect(readPrivateKey(path)).rejects.not.toThrow('secret words')
    expect(await codeOf(readPrivateKey(join(folder, 'nowhere.pem')))).toBe('SLUICE_FW_KEY')
  })

  it('of imgtool, which writes PKCS #8 in PEM, are read', async () => {
    const path = join(folder, 'imgtool.pem')
    await writeFile(path, key.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
    expect(publicKeyOf(await readPrivateKey(path)).raw).toEqual(publicKeyOf(createPrivateKey(await readFile(path))).raw)
  })
})
