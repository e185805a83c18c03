import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatVersion, makeImage, parseImage, parseVersion, TLV } from '../../firmware/tools/image.ts'
import { newKeys, type PublicKey, publicKeyOf, readPrivateKey } from '../../firmware/tools/keys.ts'
import { signerOf, verifyImage } from '../../firmware/tools/sign.ts'
import { checkForeign, dumpForeign, lacksForeignImages, makeForeignImage, makeForeignKey } from './foreign-images.ts'

/** The far side is imgtool where there is one, or Python's cryptography and a maker of its own, laid out as imgtool does. */
describe.skipIf(lacksForeignImages())('images of another maker', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-foreign-'))
  const key = join(folder, 'keys', 'current.pem')
  const at = (name: string) => join(folder, name)
  let trusted: PublicKey
  beforeAll(async () => {
    trusted = (await newKeys(join(folder, 'keys'))).current
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const foreign = (over: { version?: string; size?: number; slotBytes?: number } = {}) => {
    writeFileSync(
      at('payload'),
      Uint8Array.from({ length: over.size ?? 1001 }, (_, index) => (index * 7) & 0xff),
    )
    const facts = { version: over.version ?? '1.2.3', counter: 4, slotAddress: 0x10008000, board: 'rp2040' }
    const padded = over.slotBytes === undefined ? {} : { slotBytes: over.slotBytes }
    makeForeignImage({ key, payload: at('payload'), out: at('image'), ...facts, ...padded })
    return new Uint8Array(readFileSync(at('image')))
  }
  const accept = (image: Uint8Array) =>
    verifyImage(image, {
      keys: [trusted],
      production: true,
      board: 'rp2040',
      slotAddress: 0x10008000,
      securityCounter: 4,
    })

  it.each([8, 1001, 1002, 1003, 4096])('with a payload of %i bytes pass as a board would let them pass', (size) => {
    const image = accept(foreign({ size }))
    expect(formatVersion(image.version)).toBe('1.2.3')
    expect(image).toMatchObject({ board: 'rp2040', slotAddress: 0x10008000, securityCounter: 4, headerBytes: 512 })
    expect(image.payload).toHaveLength(size)
  })

  it('pass with the trailer of a slot behind them, and say where they end', () => {
    const image = accept(foreign({ slotBytes: 64 * 1024 }))
    expect(image.size).toBeLessThan(2000)
    expect(parseImage(new Uint8Array(readFileSync(at('image'))).subarray(0, image.size)).digest).toEqual(image.digest)
  })

  it('do not pass with any byte of what is signed changed', () => {
    const good = foreign({ size: 100 })
    for (let byte = 0; byte < parseImage(good).signedBytes; byte++) {
      const bad = Uint8Array.from(good)
      bad[byte] = (bad[byte] ?? 0) ^ 0x20
      expect(() => accept(bad), `byte ${byte}`).toThrow()
    }
  })

  it('pass with a key that was made there, once nobody else can read it', async () => {
    const path = join(folder, 'foreign.pem')
    makeForeignKey(path)
    chmodSync(path, 0o644)
    await expect(readPrivateKey(path)).rejects.toMatchObject({ code: 'SLUICE_FW_KEY_MODE' })
    chmodSync(path, 0o600)
    const facts = { version: '1.0.0', counter: 1, slotAddress: 0x6000, board: 'microbit' }
    writeFileSync(at('payload'), new Uint8Array(100))
    makeForeignImage({ key: path, payload: at('payload'), out: at('image'), ...facts })
    const keys = [publicKeyOf(await readPrivateKey(path))]
    expect(verifyImage(readFileSync(at('image')), { keys, production: true }).board).toBe('microbit')
  })

  it('and those of ours pass there', async () => {
    const signer = signerOf(await readPrivateKey(key), { production: true })
    for (const size of [8, 1001]) {
      const options = { payload: new Uint8Array(size), version: parseVersion('9.8.7'), securityCounter: 1 }
      const image = await makeImage(
        { ...options, board: 'microbit', slotAddress: 0x6000, modelHash: Buffer.from('0123456789abcdef', 'hex') },
        signer,
      )
      writeFileSync(at('ours'), image)
      checkForeign(key, at('ours'))
      const { version, protectedTlvs } = dumpForeign(at('ours'), at('ours.yaml'))
      expect(version).toBe('9.8.7+0')
      expect(Object.fromEntries([...protectedTlvs].map(([type, data]) => [type, data.toString('hex')]))).toEqual({
        [TLV.securityCounter]: '01000000',
        [TLV.modelHash]: '0123456789abcdef',
        [TLV.board]: Buffer.from('microbit').toString('hex'),
        [TLV.slotAddress]: '00600000',
      })
      image[600 % image.length] = 1
      writeFileSync(at('bad'), image)
      expect(() => checkForeign(key, at('bad'))).toThrow()
    }
  })
})
