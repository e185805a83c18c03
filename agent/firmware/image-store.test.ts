import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { ImageStore } from './image-store.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
const folderNow = () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-images-'))
  folders.push(folder)
  return join(folder, 'firmware')
}
const shaOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
async function* chunksOf(bytes: Uint8Array, size = 100, breakAt = Number.POSITIVE_INFINITY) {
  for (let at = 0; at < bytes.length; at += size) {
    if (at >= breakAt) throw new Error('the stream broke')
    yield bytes.subarray(at, at + size)
  }
}

describe('the store of images at a gateway', () => {
  it('takes an image in any number of pieces, goes on where it broke off, also after a restart, and wakes who waits', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3000 }),
        fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 4 }),
        async (size, breaks) => {
          const folder = folderNow()
          const bytes = randomBytes(size)
          const sha256 = shaOf(bytes)
          for (const breakAt of breaks) {
            const store = new ImageStore(folder)
            const fromByte = store.partialBytes(sha256)
            if (store.has(sha256)) break
            await store
              .receive({ sha256, sizeBytes: size, fromByte }, chunksOf(bytes.subarray(fromByte), 64, breakAt))
              .catch(() => undefined)
            expect(store.partialBytes(sha256)).toBeLessThanOrEqual(size)
          }
          const store = new ImageStore(folder)
          const waiting = store.arrived(sha256, new AbortController().signal)
          const fromByte = store.has(sha256) ? size : store.partialBytes(sha256)
          await store.receive({ sha256, sizeBytes: size, fromByte }, chunksOf(bytes.subarray(fromByte)))
          await waiting
          expect(Buffer.compare(await store.read(sha256), bytes)).toBe(0)
        },
      ),
      { numRuns: 25 },
    )
  })

  it('throws away what is not the image, and asks for all of it again', async () => {
    const store = new ImageStore(folderNow())
    const bytes = randomBytes(500)
    const sha256 = shaOf(bytes)
    const damaged = Uint8Array.from(bytes)
    damaged[250]! ^= 1
    const target = { sha256, sizeBytes: 500, fromByte: 0 }
    await expect(store.receive(target, chunksOf(damaged))).rejects.toMatchObject({ code: 'SLUICE_FW_UPDATE_BYTES' })
    expect(store.has(sha256)).toBe(false)
    expect(store.partialBytes(sha256)).toBe(0)
    await store.receive(target, chunksOf(bytes))
    expect(store.has(sha256)).toBe(true)
  })

  it('refuses a hole, more than was said, and a second transfer of the same image', async () => {
    const store = new ImageStore(folderNow())
    const bytes = randomBytes(500)
    const sha256 = shaOf(bytes)
    const code = { code: 'SLUICE_FW_UPDATE_BYTES' }
    await expect(store.receive({ sha256, sizeBytes: 500, fromByte: 1 }, chunksOf(bytes))).rejects.toMatchObject(code)
    await expect(store.receive({ sha256, sizeBytes: 400, fromByte: 0 }, chunksOf(bytes))).rejects.toMatchObject(code)
    const gate = Promise.withResolvers<void>()
    async function* slow() {
      await gate.promise
      yield bytes
    }
    const first = store.receive({ sha256, sizeBytes: 500, fromByte: 0 }, slow())
    await expect(store.receive({ sha256, sizeBytes: 500, fromByte: 0 }, chunksOf(bytes))).rejects.toMatchObject(code)
    gate.resolve()
    await first
    expect(store.has(sha256)).toBe(true)
  })

  it('says that the disk does not take it, and keeps files for the owner alone', async () => {
    const folder = folderNow()
    writeFileSync(folder, 'a file where the folder should be')
    const bytes = randomBytes(10)
    const target = { sha256: shaOf(bytes), sizeBytes: 10, fromByte: 0 }
    await expect(new ImageStore(folder).receive(target, chunksOf(bytes))).rejects.toMatchObject({
      code: 'SLUICE_FW_UPDATE_STORE',
    })
    const good = folderNow()
    const store = new ImageStore(good)
    await store.receive(target, chunksOf(bytes))
    for (const name of readdirSync(good)) expect(statSync(join(good, name)).mode & 0o077).toBe(0)
  })

  it('lets go of what nobody orders any more, whole or not, and of nothing else', async () => {
    const folder = folderNow()
    const store = new ImageStore(folder)
    const [kept, gone, part] = [randomBytes(50), randomBytes(60), randomBytes(70)]
    for (const bytes of [kept, gone])
      await store.receive({ sha256: shaOf(bytes), sizeBytes: bytes.length, fromByte: 0 }, chunksOf(bytes))
    await store.receive({ sha256: shaOf(part), sizeBytes: 70, fromByte: 0 }, chunksOf(part.subarray(0, 30)))
    writeFileSync(join(folder, 'README'), 'not an image')
    await store.keepOnly(new Set([shaOf(kept)]))
    expect(readdirSync(folder).sort()).toEqual([`${shaOf(kept)}.bin`, 'README'].sort())
  })

  it('stops to wait when it is not wanted any more', async () => {
    const store = new ImageStore(folderNow())
    const stop = new AbortController()
    const waiting = store.arrived('0'.repeat(64), stop.signal)
    stop.abort(new Error('not wanted'))
    await expect(waiting).rejects.toThrow('not wanted')
  })
})
