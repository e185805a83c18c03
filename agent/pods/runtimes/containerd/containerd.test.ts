import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage } from '../../images/busybox.test-helper.ts'
import { digestOf } from '../../images/manifest.ts'
import { PAUSE_CODE, pauseImage } from '../pause-image.ts'
import type { ContainerSpec, SandboxSpec } from '../runtime.ts'
import { plainContainer, plainSandbox } from '../specs.test-helper.ts'
import { daemonFacts } from './daemon.ts'
import { ContainerdHouse, missingForContainerd } from './house.test-helper.ts'
import type { ContainerdRuntime } from './runtime.ts'

const missing = missingForContainerd()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

/** Serves the layout in a folder as a registry does: folder, port, `name:password` or nothing. Fixed text. */
const REGISTRY = `
const { createServer } = require('node:http')
const { readFileSync, existsSync } = require('node:fs')
const [folder, port, who] = process.argv.slice(1)
const blob = (digest) => folder + '/blobs/sha256/' + digest.replace('sha256:', '')
const index = JSON.parse(readFileSync(folder + '/index.json'))
createServer((request, response) => {
  const say = (status, headers, body) => response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : body)
  if (who && request.headers.authorization !== 'Basic ' + Buffer.from(who).toString('base64')) {
    return say(401, { 'www-authenticate': 'Basic realm="test"' })
  }
  const [, kind, name] = /\\/(manifests|blobs)\\/(.+)$/.exec(request.url) ?? []
  if (kind === undefined) return say(200, {})
  const digest = name.startsWith('sha256:') ? name : name === '1' ? index.manifests[0].digest : ''
  if (!existsSync(blob(digest)) || digest === '') return say(404, { 'content-type': 'application/json' }, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
  const bytes = readFileSync(blob(digest))
  const type = kind === 'manifests' ? JSON.parse(bytes).mediaType : 'application/octet-stream'
  say(200, { 'content-type': type, 'content-length': bytes.length, 'docker-content-digest': digest }, bytes)
}).listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\\n'))
`

describe.skipIf(missing !== undefined)('pods with containerd', { timeout: 60_000 }, () => {
  let house: ContainerdHouse
  let runtime: ContainerdRuntime
  let image: MadeImage
  let signal: AbortSignal

  beforeAll(async () => {
    house = await ContainerdHouse.start()
    runtime = await house.open()
    image = busyboxImage()
    await runtime.images.import(image.archive, undefined, AbortSignal.timeout(30_000))
  }, 60_000)
  afterAll(async () => {
    await runtime?.[Symbol.asyncDispose]()
    await house?.[Symbol.asyncDispose]()
    image?.[Symbol.dispose]()
  }, 60_000)
  beforeEach(() => {
    signal = AbortSignal.timeout(60_000)
  })
  afterEach(async () => {
    for (const { id } of await runtime.list(signal)) await runtime.removeSandbox(id, signal)
  }, 60_000)

  const sandbox = (over: Partial<SandboxSpec> = {}) =>
    runtime.createSandbox(plainSandbox(join(house.machine.folder, 'logs'), over), signal)

  async function container(box: string, script: string, over: Partial<ContainerSpec> = {}): Promise<string> {
    const state = (await runtime.images.find('test/busybox:1', signal))!
    const spec = plainContainer(state, { command: ['/bin/sh', '-c', script], ...over })
    const id = await runtime.createContainer(box, spec, signal)
    await runtime.startContainer(id, signal)
    return id
  }

  async function exec(id: string, script: string) {
    await using session = await runtime.exec(id, { command: ['sh', '-c', script], stdin: false, tty: false }, signal)
    const [out] = await Promise.all([text(session.stdout), text(session.stderr!)])
    return { out, code: await session.exited }
  }

  /** Asks until somebody answers: a program says nothing when it begins to listen. */
  async function answer(ask: () => Promise<string>): Promise<string> {
    for (;;) {
      signal.throwIfAborted()
      const said = await ask().catch(() => '')
      if (said !== '') return said
    }
  }

  const fromMachine = (host: string, port: number) =>
    answer(async () => await text(await house.machine.dial(port, host, signal)))

  it('gives every pod an address of its own, at which other pods and the machine reach it', async () => {
    const [a, b] = [await sandbox({ name: 'a' }), await sandbox({ name: 'b' })]
    expect(a.ips).toEqual([expect.stringMatching(/^10\.213\.\d+\.\d+$/)])
    expect(b.ips[0]).not.toBe(a.ips[0])
    await container(a.id, 'while true; do nc -l -p 80 -e echo "I am a"; done')
    const peer = await container(b.id, 'sleep 1000')
    expect(await answer(async () => (await exec(peer, `nc -w 1 ${a.ips[0]} 80`)).out)).toBe('I am a\n')
    expect(await fromMachine(a.ips[0]!, 80)).toBe('I am a\n')
    expect((await exec(peer, 'hostname; cat /etc/hosts')).out).toContain('box\n')
  })

  it('leads a port of the machine into a pod, and no more when the pod is gone', async () => {
    const box = await sandbox({ portMappings: [{ protocol: 'TCP', containerPort: 80, hostPort: 8080 }] })
    await container(box.id, 'while true; do nc -l -p 80 -e echo "by the port of the machine"; done')
    expect(await fromMachine('127.0.0.1', 8080)).toBe('by the port of the machine\n')
    await runtime.removeSandbox(box.id, signal)
    await expect(house.machine.dial(8080, '127.0.0.1', signal)).rejects.toThrow('nothing listens')
  })

  it("gives a pod the machine's own network when it asks for it", async () => {
    const box = await sandbox({ hostNetwork: true })
    expect(box.ips).toEqual([])
    const id = await container(box.id, 'sleep 1000')
    expect((await exec(id, 'cat /proc/net/dev')).out).toContain('sluice0')
    expect((await runtime.list(signal))[0]).toMatchObject({ ready: true, ips: [] })
  })

  it('keeps what is not its own out of sight', async () => {
    const other = await house.open('gw-2')
    try {
      const theirs = await other.createSandbox(plainSandbox(join(house.machine.folder, 'logs')), signal)
      await sandbox({ name: 'mine' })
      expect((await runtime.list(signal)).map(({ name }) => name)).toEqual(['mine'])
      await runtime.removeSandbox(theirs.id, signal)
      expect((await other.list(signal)).map(({ id }) => id)).toEqual([theirs.id])
      await other.removeSandbox(theirs.id, signal)
    } finally {
      await other[Symbol.asyncDispose]()
    }
  })

  it('hides from a pod what the kernel shows of itself, and filters its system calls', async () => {
    const id = await container((await sandbox()).id, 'sleep 1000', { dropCapabilities: ['ALL'], user: 1000 })
    const { out } = await exec(
      id,
      'grep -E "CapEff|NoNewPrivs|^Seccomp:" /proc/self/status; wc -c < /proc/keys; echo 1 > /proc/sys/kernel/domainname',
    )
    expect(out).toMatch(/CapEff:\s+0{16}\nNoNewPrivs:\s+1\nSeccomp:\s+2\n0\n/)
  })

  it('runs one with every right only in a sandbox that was made for it', async () => {
    const plain = await sandbox()
    await expect(container(plain.id, 'true', { privileged: true })).rejects.toMatchObject({
      code: 'SLUICE_POD_UNSUPPORTED',
    })
    const id = await container((await sandbox({ privileged: true })).id, 'sleep 1000', { privileged: true })
    expect((await exec(id, 'mkdir -p /m && mount -t tmpfs x /m && echo mounted')).out).toBe('mounted\n')
  })

  it('fetches from a registry with a password, by tag or by digest, and says what is wrong with a name', async () => {
    const registry = house.machine.run([process.execPath, '-e', REGISTRY, image.folder, '5001', 'me:secret'], 'pipe')
    await once(registry.stdout!, 'data')
    const name = '127.0.0.1:5001/test/busybox'
    await expect(runtime.images.pull(`${name}:1`, undefined, signal)).rejects.toMatchObject({
      code: 'SLUICE_REGISTRY_DENIED',
    })
    const auth = { username: 'me', password: 'secret' }
    const pulled = await runtime.images.pull(`${name}:1`, auth, signal)
    expect(pulled).toMatchObject({ id: image.configDigest, digests: [`${name}@${image.manifestDigest}`] })
    expect(await runtime.images.pull(`${name}@${image.manifestDigest}`, auth, signal)).toMatchObject({ id: pulled.id })
    await expect(runtime.images.pull(`${name}:2`, auth, signal)).rejects.toMatchObject({
      code: 'SLUICE_REGISTRY_NOT_FOUND',
    })
  })

  it('takes nothing from a registry that lies about a digest', async () => {
    using lying = busyboxImage({ env: ['LYING=1'] })
    const read = (digest: string) => readFileSync(join(lying.folder, 'blobs/sha256', digest.slice(7)))
    const { layers } = JSON.parse(read(lying.manifestDigest).toString()) as { layers: { digest: string }[] }
    const bytes = read(layers[0]!.digest)
    bytes[bytes.length >> 1]! ^= 0xff
    writeFileSync(join(lying.folder, 'blobs/sha256', layers[0]!.digest.slice(7)), bytes)
    const registry = house.machine.run([process.execPath, '-e', REGISTRY, lying.folder, '5002', ''], 'pipe')
    await once(registry.stdout!, 'data')
    await expect(runtime.images.pull('127.0.0.1:5002/test/lying:1', undefined, signal)).rejects.toMatchObject({
      code: 'SLUICE_POD_IMAGE_DIGEST',
    })
    expect(await runtime.images.find('127.0.0.1:5002/test/lying:1', signal)).toBeUndefined()
  })

  it('takes an archive as docker writes it, which has no manifest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-saved-'))
    try {
      using made = busyboxImage({ env: ['SAVED=1'] })
      const read = (digest: string) => readFileSync(join(made.folder, 'blobs/sha256', digest.slice(7)))
      const { layers } = JSON.parse(read(made.manifestDigest).toString()) as { layers: { digest: string }[] }
      mkdirSync(join(folder, 'l0'))
      writeFileSync(
        join(folder, 'l0/layer.tar'),
        execFileSync('gzip', ['-dc'], { input: read(layers[0]!.digest), maxBuffer: 2 ** 26 }),
      )
      writeFileSync(join(folder, 'config.json'), read(made.configDigest))
      const manifest = [{ Config: 'config.json', RepoTags: ['test/saved:1'], Layers: ['l0/layer.tar'] }]
      writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest))
      const [state] = await runtime.images.import(folder, undefined, signal)
      expect(state).toMatchObject({ id: made.configDigest, names: ['docker.io/test/saved:1'] })
      const box = await sandbox()
      const id = await container(box.id, 'echo $SAVED; sleep 1000', { image: state! })
      expect((await exec(id, 'echo $SAVED')).out).toBe('1\n')
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('the image of sandboxes', () => {
  it('has the code that an assembler makes of it', () => {
    const sources = {
      x64: ['x86_64', '.intel_syntax noprefix\n_start: mov eax, 34\nsyscall\n.byte 0xeb, 0xf7\n'],
      arm64: ['aarch64', '_start: mov x0, 0\nmov x1, 0\nmov x2, 0\nmov x3, 0\nmov x8, 73\nsvc 0\nb _start\n'],
    } as const
    const folder = mkdtempSync(join(tmpdir(), 'sluice-pause-'))
    try {
      for (const [arch, [target, source]] of Object.entries(sources)) {
        const object = join(folder, `${arch}.o`)
        execFileSync('clang', [`--target=${target}-linux-gnu`, '-c', '-x', 'assembler', '-o', object, '-'], {
          input: source,
        })
        expect(readFileSync(object).includes(Buffer.from(PAUSE_CODE[arch]!.code, 'hex'))).toBe(true)
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('is whole, and not made for machines that it does not know', () => {
    const { blobs, manifest, configDigest } = pauseImage('registry.k8s.io/pause:3.6', 'arm64')!
    const { config, layers } = JSON.parse(Buffer.from(manifest.bytes).toString()) as {
      config: { digest: string }
      layers: { digest: string }[]
    }
    expect([config.digest, ...layers.map(({ digest }) => digest)]).toEqual(blobs.map(({ digest }) => digest))
    expect(config.digest).toBe(configDigest)
    expect(digestOf(manifest.bytes)).toMatch(/^sha256:/)
    expect(pauseImage('x', 'sparc')).toBeUndefined()
  })
})

describe('what containerd says of its configuration', () => {
  it('is read where it says something, and is as shipped where it does not', () => {
    const shipped = { configuration: '/etc/cni/net.d', plugins: '/opt/cni/bin' }
    for (const text of ['', 'no json', '[]', '{}', 'null', '{"cni": 1}']) {
      expect(daemonFacts(text)).toEqual({ systemdCgroups: false, sandboxImage: undefined, cni: shipped })
    }
    const runc = { options: { SystemdCgroup: true } }
    const told = {
      sandboxImage: 'a/pause:1',
      containerd: { defaultRuntimeName: 'runc', runtimes: { runc } },
      cni: { binDir: '/usr/lib/cni', confDir: '/c' },
    }
    expect(daemonFacts(JSON.stringify(told))).toEqual({
      systemdCgroups: true,
      sandboxImage: 'a/pause:1',
      cni: { configuration: '/c', plugins: '/usr/lib/cni' },
    })
  })
})
