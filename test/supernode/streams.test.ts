import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage } from '../../agent/pods/images/busybox.test-helper.ts'
import { openUplink, type Uplink } from '../../cli/uplink/uplink.ts'
import { collectionPath, NODES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { keptPort } from '../../hil/kept-port.ts'
import { Assembly } from '../harness/assembly.ts'
import { boxesGone } from '../harness/boxes-gone.ts'
import { missingForHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

const IMAGE = 'test/busybox:1'
const LINES = 2000

/** Says lines, then gives back on a port of the machine what comes in there, until its end. */
const script = (port: number) =>
  `i=0; while [ $i -lt ${LINES} ]; do i=$((i+1)); echo "line $i"; done; exec nc -ll -p ${port} -e cat`

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Three supernodes, one above the other; the only gateway is at the lowest, and runs real processes. */
describe.skipIf(skipHouse)(`a pod two supernodes below ${missingForHouse ?? ''}`, { timeout: 60_000 }, () => {
  const stack = new AsyncDisposableStack()
  let top: Assembly
  let middle: Assembly
  let bottom: Assembly
  let bottomUplink: Uplink
  let middleUplink: Uplink
  let port: number

  beforeAll(async () => {
    const made = await Promise.all([Assembly.start(), Assembly.start(), Assembly.start()])
    for (const each of made) stack.use(each)
    ;[top, middle, bottom] = made
    port = await keptPort()
    await startGateway()
    bottomUplink = await showAbove(bottom, middle, 'bottom')
    middleUplink = await showAbove(middle, top, 'middle')
    // A pod that comes before there is room for it is looked at again only after a while.
    await eventually(
      async () => {
        const { status } = await top.kube.get<{ status: { allocatable?: { cpu?: string } } }>(
          objectPath(NODES, 'middle'),
        )
        return Number.parseInt(status.allocatable?.cpu ?? '0', 10) > 0
      },
      'the top sees that there is room below',
      60_000,
    )
    await top.kube.create(collectionPath(PODS, top.namespace), {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'deep' } },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'main',
            image: IMAGE,
            command: ['sh', '-c', script(port)],
            volumeMounts: [{ name: 'work', mountPath: '/work' }],
          },
          { name: 'talk', image: IMAGE, command: ['cat'], stdin: true, stdinOnce: true },
        ],
        volumes: [{ name: 'work', emptyDir: {} }],
      },
    })
    stack.defer(() => end())
    const path = objectPath(PODS, 'deep', top.namespace)
    await eventually(
      async () => (await top.kube.get<{ status: { phase: string } }>(path)).status.phase === 'Running',
      'it runs, as told to the top',
      90_000,
    ).catch((thrown: unknown) => {
      for (const each of made) console.error(each.log.map((line) => JSON.stringify(line)).join('\n'))
      throw thrown
    })
  }, 150_000)
  afterAll(() => stack.disposeAsync(), 60_000)
  beforeEach(() => {
    for (const each of [top, middle, bottom]) each.tellOnFailure()
  })

  async function startGateway(): Promise<void> {
    const dataDir = join(bottom.folder, 'gw')
    const podsDir = `${dataDir}-pods`
    mkdirSync(join(podsDir, 'import'), { recursive: true })
    chmodSync(bottom.folder, 0o711)
    chmodSync(podsDir, 0o711)
    chmodSync(join(podsDir, 'import'), 0o700)
    using image = busyboxImage({ name: IMAGE })
    copyFileSync(image.archive, join(podsDir, 'import', 'busybox.tar'))
    stack.use(await bottom.startAgent({ dataDir, podsDir, pods: 'process', gateway: 'gw-1' }))
  }

  async function showAbove(below: Assembly, above: Assembly, gateway: string): Promise<Uplink> {
    const { token } = await above.core.createToken({ gateway })
    const joinTokenFile = join(below.folder, `${gateway}.token`)
    writeFileSync(joinTokenFile, token, { mode: 0o600 })
    const log = (level: string, message: string, fields?: object) =>
      void below.log.push({ ...fields, level: `uplink ${level}`, message })
    const options = { kube: below.kube, dataDir: join(below.folder, 'uplink'), joinTokenFile }
    return stack.use(await openUplink(options, { log, sayAgainMs: 50 }))
  }

  async function end(): Promise<void> {
    // What is deleted below, a supernode that still wants it would make anew; one that is away deletes nothing below.
    for (const each of [top, middle, bottom]) {
      await each.kube.delete(objectPath(PODS, 'deep', top.namespace)).catch(() => {})
    }
    await eventually(
      async () => (await bottom.kube.list(collectionPath(PODS, top.namespace))).items.length === 0,
      'nothing runs any more',
    )
    await boxesGone(join(bottom.folder, 'gw-pods'))
  }

  /** As a person at the highest supernode, who knows nothing of those beneath. */
  function kubectl(args: readonly string[], input?: string | Buffer): Promise<Answer> {
    const env = { ...process.env, KUBECONFIG: top.kubeconfig, HOME: top.folder }
    return new Promise((resolve) => {
      const all = ['--namespace', top.namespace, ...args]
      const child = execFile('kubectl', all, { env, timeout: 50_000, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      )
      child.stdin?.on('error', () => {})
      child.stdin?.end(input ?? '')
    })
  }

  /** A `kubectl` that goes on until it is let go. */
  function program(verb: string, ...args: readonly string[]) {
    const child = spawn('kubectl', [verb, '--namespace', top.namespace, ...args], {
      env: { ...process.env, KUBECONFIG: top.kubeconfig, HOME: top.folder },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    return { stdin: child.stdin, stdout: child.stdout, [Symbol.dispose]: () => void child.kill('SIGKILL') }
  }

  it('shows its log, all of it or its end', async () => {
    const all = await kubectl(['logs', 'deep', '-c', 'main'])
    expect([all.code, all.stderr]).toEqual([0, ''])
    expect(all.stdout).toBe(Array.from({ length: LINES }, (_, index) => `line ${index + 1}\n`).join(''))
    expect((await kubectl(['logs', 'deep', '-c', 'main', '--tail', '2'])).stdout).toBe(
      `line ${LINES - 1}\nline ${LINES}\n`,
    )
  })

  it('runs commands: both outputs, the exit code, and input that ends', async () => {
    const both = await kubectl(['exec', 'deep', '-c', 'main', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])
    expect(both.stdout).toBe('out\n')
    expect(both.stderr).toContain('err\n')
    expect(both.code).toBe(7)
    const words = 'x'.repeat(2_000_000)
    const counted = await kubectl(['exec', '-i', 'deep', '-c', 'main', '--', 'wc', '-c'], words)
    expect(counted.stdout.trim()).toBe(String(words.length))
    const none = await kubectl(['exec', 'deep', '-c', 'main', '--', '/no/such/program'])
    expect(none.code).not.toBe(0)
    expect(none.stderr).toContain('/no/such/program')
  })

  it('takes files that are copied into it, and gives them back whole', async () => {
    const here = join(top.folder, 'here')
    writeFileSync(here, Buffer.alloc(500_000, 'words of a file\n'))
    expect(await kubectl(['cp', here, 'deep:/work/there', '-c', 'main'])).toMatchObject({ code: 0 })
    const { stdout } = await kubectl(['exec', 'deep', '-c', 'main', '--', 'wc', '-c', '/work/there'])
    expect(stdout).toBe('500000 /work/there\n')
    const back = join(top.folder, 'back')
    expect(await kubectl(['cp', 'deep:/work/there', back, '-c', 'main'])).toMatchObject({ code: 0 })
    expect(readFileSync(back).equals(readFileSync(here))).toBe(true)
  })

  it('can be attached to', async () => {
    using attached = program('attach', '-i', 'deep', '-c', 'talk')
    attached.stdin.write('hello\n')
    const [said] = (await once(attached.stdout, 'data')) as [Buffer]
    expect(String(said)).toBe('hello\n')
  })

  it('has its port forwarded, with an end in each direction', async () => {
    using forwarder = program('port-forward', 'deep', `:${port}`)
    const [said] = (await once(forwarder.stdout, 'data')) as [Buffer]
    const local = Number(/127\.0\.0\.1:(\d+)/.exec(String(said))?.[1])
    const sent = Buffer.alloc(3_000_000, 'over three supernodes ')
    const socket = connect({ port: local, host: '127.0.0.1', allowHalfOpen: true })
    socket.end(sent)
    expect((await buffer(socket)).equals(sent)).toBe(true)
  })

  it('says what it uses, as does the supernode as a whole', async () => {
    const shown = await eventually(async () => {
      const { stdout, code } = await kubectl(['top', 'pod', 'deep', '--no-headers'])
      return code === 0 && stdout
    }, 'its use is known')
    expect(shown).toMatch(/^deep\s+\d+m\s+\d+Mi\s*$/)
    expect((await kubectl(['top', 'node', 'middle', '--no-headers'])).stdout).toMatch(
      /^middle\s+[1-9]\d*m\s.*\s[1-9]\d*Mi\s/,
    )
  })

  it('a container that there is not is refused as at a gateway', async () => {
    const path = `/api/v1/namespaces/${top.namespace}/pods/deep/log?container=main&previous=true`
    const { code, stderr } = await kubectl(['get', '--raw', path])
    expect([code, stderr]).toEqual([1, expect.stringMatching(/previous .*container|no .*container/)])
  })

  it('a supernode on the way that is away is named, as a gateway would be', async () => {
    await bottomUplink[Symbol.asyncDispose]()
    const asked = [
      ['logs', 'deep', '-c', 'main'],
      ['exec', 'deep', '-c', 'main', '--', 'true'],
    ].map((args) => kubectl(args))
    for (const { code, stderr } of await Promise.all(asked)) {
      expect([code, stderr]).toEqual([1, expect.stringContaining("gateway 'bottom' is not connected")])
    }
    await middleUplink[Symbol.asyncDispose]()
    const { code, stderr } = await kubectl(['logs', 'deep', '-c', 'main'])
    expect([code, stderr]).toEqual([1, expect.stringContaining("gateway 'middle' is not connected")])
  })
})
