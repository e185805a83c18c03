import { execFileSync, spawn } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { BUSYBOX, busyboxImage } from './busybox.test-helper.ts'
import { inside } from './inside.ts'
import { canonicalName, parseReference } from './reference.ts'
import { fetchImage } from './registry.ts'
import { FolderImages } from './store.ts'
import { readTar } from './tar.ts'

const signal = AbortSignal.timeout(60_000)
const missing = [BUSYBOX, '/usr/bin/skopeo', '/usr/bin/docker-registry'].filter((path) => !existsSync(path))
if (missing.length > 0 && process.env['CI'] === 'true') throw new Error(`missing: ${missing.join(', ')}`)

let folder: string
let images: FolderImages
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-images-'))
  images = new FolderImages({ folder: join(folder, 'images'), clock: systemClock, fetch: fetchImage })
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(missing.length > 0)('images as folders', () => {
  it('lays layers over each other, with what later ones take away', async () => {
    using image = busyboxImage({
      layers: [
        { 'a/one': '1', 'a/two': '2' },
        { 'a/.wh.one': '', 'b/x': 'x' },
        { 'b/.wh..wh..opq': '', 'b/y': 'y' },
      ],
    })
    const [stored] = await images.import(image.folder, undefined, signal)
    const root = images.rootOf(stored!.id)
    expect(readdirSync(join(root, 'a'))).toEqual(['two'])
    expect(readdirSync(join(root, 'b'))).toEqual(['y'])
    expect(stored).toMatchObject({ id: image.configDigest, names: ['docker.io/test/busybox:1'] })
    expect(await images.find(`test/busybox@${image.manifestDigest}`)).toMatchObject({ id: image.configDigest })
    expect(new FolderImages({ folder: join(folder, 'images'), clock: systemClock }).get(stored!.id)).toEqual(stored)
    await images.remove(stored!.id)
    expect(readdirSync(join(folder, 'images'))).toEqual([])
  })

  it('takes archives of others: docker save as skopeo writes it', async () => {
    using image = busyboxImage()
    const saved = join(folder, 'saved.tar')
    execFileSync('skopeo', [
      '--insecure-policy',
      'copy',
      '-q',
      `oci:${image.folder}:test/busybox:1`,
      `docker-archive:${saved}:plant/tool:2`,
    ])
    const [stored] = await images.import(saved, undefined, signal)
    expect(stored!.names).toEqual(['docker.io/plant/tool:2'])
    expect(existsSync(join(images.rootOf(stored!.id), 'bin/busybox'))).toBe(true)
  })

  it('refuses an image whose layer or configuration is not what its digest says, and keeps nothing of it', async () => {
    using image = busyboxImage()
    const blobs = join(image.folder, 'blobs/sha256')
    for (const name of readdirSync(blobs)) {
      const path = join(blobs, name)
      const good = readFileSync(path)
      appendFileSync(path, ' ')
      await expect(images.import(image.folder, undefined, signal)).rejects.toMatchObject({
        code: 'SLUICE_POD_IMAGE_DIGEST',
      })
      writeFileSync(path, good)
    }
    expect(readdirSync(join(folder, 'images'))).toEqual([])
    expect(await images.import(image.folder, undefined, signal)).toHaveLength(1)
  })

  it('finds by a digest only what has it, whatever an archive calls itself', async () => {
    const pinned = `test/busybox@sha256:${'a'.repeat(64)}`
    using image = busyboxImage({ name: pinned })
    await images.import(image.archive, undefined, signal)
    expect(await images.find(pinned)).toBeUndefined()
    expect(await images.find(`test/busybox@${image.manifestDigest}`)).toMatchObject({ id: image.configDigest })
  })

  it('pulls from a registry by tag and by digest, and says what is not there', async () => {
    using image = busyboxImage()
    const port = await freePort()
    writeFileSync(
      join(folder, 'registry.yml'),
      `version: 0.1\nstorage: {filesystem: {rootdirectory: ${join(folder, 'registry')}}}\nhttp: {addr: 127.0.0.1:${port}}\n`,
    )
    const registry = spawn('docker-registry', ['serve', join(folder, 'registry.yml')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const listening = (async () => {
      for await (const line of createInterface(registry.stderr)) if (line.includes('listening on')) return
      throw new Error('the registry ended')
    })()
    try {
      await listening
      const name = `127.0.0.1:${port}/test/busybox`
      execFileSync('skopeo', [
        '--insecure-policy',
        'copy',
        '-q',
        '--dest-tls-verify=false',
        `oci:${image.folder}:test/busybox:1`,
        `docker://${name}:1`,
      ])
      const [a, b] = await Promise.all([
        images.pull(`${name}:1`, undefined, signal),
        images.pull(`${name}:1`, undefined, signal),
      ])
      expect(a).toBe(b)
      expect(a).toMatchObject({ id: image.configDigest, digests: [`${name}@${image.manifestDigest}`] })
      expect(await images.pull(`${name}@${image.manifestDigest}`, undefined, signal)).toMatchObject({
        id: image.configDigest,
      })
      const other = `sha256:${'0'.repeat(64)}`
      await expect(images.pull(`${name}@${other}`, undefined, signal)).rejects.toMatchObject({
        code: 'SLUICE_REGISTRY_NOT_FOUND',
      })
      await expect(images.pull(`${name}:9`, undefined, signal)).rejects.toMatchObject({
        code: 'SLUICE_REGISTRY_NOT_FOUND',
      })
    } finally {
      registry.kill('SIGKILL')
    }
    await expect(images.pull(`127.0.0.1:${port}/x`, undefined, signal)).rejects.toMatchObject({
      code: 'SLUICE_REGISTRY_FAILED',
    })
  })
})

describe('what is inside of an image', () => {
  it('never leads out of it, whatever links it has', () => {
    const root = join(folder, 'root')
    mkdirSync(join(root, 'd'), { recursive: true })
    symlinkSync('/etc', join(root, 'abs'))
    symlinkSync('../../../../etc', join(root, 'd/up'))
    symlinkSync('loop', join(root, 'loop'))
    expect(inside(root, '/abs/passwd')).toBe(join(root, 'etc/passwd'))
    expect(inside(root, 'd/up/passwd')).toBe(join(root, 'etc/passwd'))
    expect(inside(root, '../../x')).toBe(join(root, 'x'))
    expect(() => inside(root, 'loop/x')).toThrow(/links/)
    fc.assert(
      fc.property(fc.array(fc.constantFrom('..', '.', 'abs', 'd', 'up', 'x', ''), { maxLength: 12 }), (parts) => {
        const path = inside(root, parts.join('/'), true)
        expect(path === root || path.startsWith(`${root}/`)).toBe(true)
      }),
    )
  })

  it('is read from any bytes without anything but its own error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), fc.integer({ min: 0, max: 511 }), async (bytes, at) => {
        const block = Buffer.alloc(2048)
        block.write('name', 0)
        block.write('0000644', 100)
        block.write('00000000010', 124)
        block.write('ustar', 257)
        block.set(bytes.subarray(0, 100), at)
        try {
          for await (const entry of readTar(chunks(block, bytes))) expect(entry.bytes).toBeGreaterThanOrEqual(0)
        } catch (error) {
          expect(error).toMatchObject({ code: 'SLUICE_POD_IMAGE_BROKEN' })
        }
      }),
    )
  })

  it('is called as everybody calls images', () => {
    const digest = `sha256:${'a'.repeat(64)}`
    expect(canonicalName(parseReference('busybox'))).toBe('docker.io/library/busybox:latest')
    expect(canonicalName(parseReference('a/b:1'))).toBe('docker.io/a/b:1')
    expect(canonicalName(parseReference('localhost:5000/b'))).toBe('localhost:5000/b:latest')
    expect(canonicalName(parseReference(`ghcr.io/a/b:1@${digest}`))).toBe(`ghcr.io/a/b@${digest}`)
    for (const bad of ['', 'UPPER', 'a b', 'a@sha256:1', '../x', 'a:', '-']) {
      expect(() => parseReference(bad), bad).toThrow(/no name/)
    }
  })
})

async function* chunks(...parts: readonly Uint8Array[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
