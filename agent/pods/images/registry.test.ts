import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import { BUSYBOX, busyboxImage } from './busybox.test-helper.ts'
import { readMirrors } from './mirrors.ts'
import { fetchImage } from './registry.ts'
import { FolderImages } from './store.ts'

const signal = AbortSignal.timeout(60_000)
const missing = [BUSYBOX, '/usr/bin/skopeo', '/usr/bin/docker-registry'].filter((path) => !existsSync(path))
if (missing.length > 0 && process.env['CI'] === 'true') throw new Error(`missing: ${missing.join(', ')}`)

/** bcrypt of `pa55-word`. */
const HTPASSWD = 'robot:$2b$05$abcdefghijklmnopqrstuujh9PDMrNlID7EOhE4sltp3nqIzxR/SS\n'

let folder: string
let servers: Server[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-registry-'))
  servers = []
})
afterEach(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A registry that answers with the blobs of an OCI layout, some of them changed; resolves to `127.0.0.1:PORT`. */
async function registryOf(layout: string, change: (digest: string, bytes: Buffer) => Buffer = (_, bytes) => bytes) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.url!)
    const last = request.url!.split('/').at(-1)!
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
    const digest = last.startsWith('sha256:') ? last : index.manifests[0]!.digest
    const path = join(layout, 'blobs/sha256', digest.slice(7))
    if (!existsSync(path)) response.writeHead(404).end()
    else response.end(change(digest, readFileSync(path)))
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await new Promise((resolve) => server.once('listening', resolve))
  return { name: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const imagesWith = (mirrors = {}) =>
  new FolderImages({
    folder: join(folder, 'images'),
    clock: systemClock,
    fetch: (reference, auth, work, until) => fetchImage(reference, auth, work, until, mirrors),
  })

describe.skipIf(missing.length > 0)('an image from a registry', () => {
  it('that lies about a digest is refused, whichever document or layer it is, and nothing of it is kept', async () => {
    using image = busyboxImage()
    const images = imagesWith()
    for (const victim of readdirSync(join(image.folder, 'blobs/sha256'))) {
      const { name } = await registryOf(image.folder, (digest, bytes) => {
        if (digest !== `sha256:${victim}`) return bytes
        const other = Buffer.from(bytes)
        other[other.length >> 1] = other[other.length >> 1]! ^ 1
        return other
      })
      await expect(images.pull(`${name}/a/b@${image.manifestDigest}`, undefined, signal)).rejects.toMatchObject({
        code: 'SLUICE_POD_IMAGE_DIGEST',
      })
      expect(readdirSync(join(folder, 'images'))).toEqual([])
    }
    const { name } = await registryOf(image.folder)
    expect(await images.pull(`${name}/a/b@${image.manifestDigest}`, undefined, signal)).toMatchObject({
      id: image.configDigest,
    })
  })

  it('is looked for at the mirrors first, and one that lies or is not there is passed over', async () => {
    using image = busyboxImage()
    const good = await registryOf(image.folder)
    const liar = await registryOf(image.folder, (_, bytes) =>
      Buffer.from(bytes.toString('latin1').replace('layers', 'LAYERS')),
    )
    const upstream = await registryOf(image.folder)
    const pinned = `${upstream.name}/a/b@${image.manifestDigest}`
    const mirrors = { [upstream.name]: [`http://${liar.name}`, 'http://127.0.0.1:1', `http://${good.name}`] }
    expect(await imagesWith(mirrors).pull(pinned, undefined, signal)).toMatchObject({ id: image.configDigest })
    expect(liar.asked.length).toBeGreaterThan(0)
    expect(good.asked.length).toBeGreaterThan(2)
    expect(upstream.asked).toEqual([])
    rmSync(join(folder, 'images'), { recursive: true })
    const only = { [upstream.name]: [`http://${liar.name}`] }
    expect(await imagesWith(only).pull(pinned, undefined, signal)).toMatchObject({ id: image.configDigest })
    expect(upstream.asked.length).toBeGreaterThan(2)
  })

  it('with a password is fetched with it, and its mirror never sees that', async () => {
    using image = busyboxImage()
    const port = await freePort()
    writeFileSync(join(folder, 'htpasswd'), HTPASSWD)
    writeFileSync(
      join(folder, 'registry.yml'),
      `version: 0.1\nstorage: {filesystem: {rootdirectory: ${join(folder, 'registry')}}}\nhttp: {addr: 127.0.0.1:${port}}\nauth: {htpasswd: {realm: here, path: ${join(folder, 'htpasswd')}}}\n`,
    )
    const registry = spawn('docker-registry', ['serve', join(folder, 'registry.yml')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    try {
      for await (const line of createInterface(registry.stderr)) if (line.includes('listening on')) break
      const name = `127.0.0.1:${port}/test/busybox`
      execFileSync('skopeo', [
        '--insecure-policy',
        'copy',
        '-q',
        '--dest-tls-verify=false',
        '--dest-creds=robot:pa55-word',
        `oci:${image.folder}:test/busybox:1`,
        `docker://${name}:1`,
      ])
      const seen: (string | undefined)[] = []
      const mirror = createServer((request, response) => {
        seen.push(request.headers.authorization)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="mirror"' }).end()
      }).listen(0, '127.0.0.1')
      servers.push(mirror)
      await new Promise((resolve) => mirror.once('listening', resolve))
      const at = `http://127.0.0.1:${(mirror.address() as AddressInfo).port}`
      const images = imagesWith({ [`127.0.0.1:${port}`]: [at] })
      const right = { username: 'robot', password: 'pa55-word' }
      await expect(images.pull(`${name}:1`, undefined, signal)).rejects.toMatchObject({
        code: 'SLUICE_REGISTRY_DENIED',
      })
      const wrong = await images
        .pull(`${name}:1`, { ...right, password: 'wr0ng' }, signal)
        .catch((error: unknown) => error)
      expect(wrong).toMatchObject({ code: 'SLUICE_REGISTRY_DENIED', hint: expect.stringContaining('imagePullSecret') })
      expect(JSON.stringify(wrong)).not.toContain('wr0ng')
      expect(await images.pull(`${name}:1`, right, signal)).toMatchObject({ id: image.configDigest })
      expect(seen.length).toBeGreaterThan(0)
      expect(seen.every((one) => one === undefined)).toBe(true)
    } finally {
      registry.kill('SIGKILL')
    }
  })
})

it('mirrors are read from a file that says what is wrong with it', () => {
  const path = join(folder, 'registries.json')
  expect(readMirrors(path)).toEqual({})
  mkdirSync(folder, { recursive: true })
  writeFileSync(path, '{"docker.io": ["https://mirror.example:5000/"]}')
  expect(readMirrors(path)).toEqual({ 'docker.io': ['https://mirror.example:5000'] })
  for (const bad of [
    '{',
    '[]',
    '{"a": 1}',
    '{"a": ["ftp://x"]}',
    '{"a": ["https://u:p@x"]}',
    '{"a": ["https://x/path"]}',
    '{"a": [7]}',
  ]) {
    writeFileSync(path, bad)
    expect(() => readMirrors(path), bad).toThrow(expect.objectContaining({ code: 'SLUICE_REGISTRY_MIRRORS' }))
  }
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
