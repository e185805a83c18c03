import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../../api/clock.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../../images/busybox.test-helper.ts'
import type { ContainerSpec, PodRuntime, SandboxSpec } from '../runtime.ts'
import { plainContainer, plainSandbox } from '../specs.test-helper.ts'
import { ProcessRuntime } from './runtime.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

let image: MadeImage
let folder: string
let runtime: PodRuntime
const signal = AbortSignal.timeout(120_000)

beforeAll(() => {
  if (missing === undefined) image = busyboxImage()
})
afterAll(() => image?.[Symbol.dispose]())

const openRuntime = () =>
  new ProcessRuntime({
    folder: join(folder, 'pods'),
    clock: systemClock,
    onTrouble: (error) => {
      throw error
    },
  })

async function sandbox(over: Partial<SandboxSpec> = {}): Promise<string> {
  return (await runtime.createSandbox(plainSandbox(join(folder, 'logs'), over), signal)).id
}

async function container(box: string, script: string, over: Partial<ContainerSpec> = {}): Promise<string> {
  const state = (await runtime.images.find('test/busybox:1', signal))!
  const id = await runtime.createContainer(
    box,
    plainContainer(state, { command: ['/bin/sh', '-c', script], ...over }),
    signal,
  )
  await runtime.startContainer(id, signal)
  return id
}

async function view(id: string) {
  const all = (await runtime.list(signal)).flatMap(({ containers }) => containers)
  return all.find((one) => one.id === id)!
}

/** Resolves when the container has ended, by its own account. */
async function ended(id: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = async () => {
    if ((await view(id)).state === 'exited') resolve()
  }
  const stop = runtime.onChange(() => void look())
  await look()
  await promise
  stop()
  return view(id)
}

/** What it wrote, without times. */
async function logOf(id: string): Promise<string> {
  const { logPath } = await view(id)
  return readFileSync(logPath, 'utf8')
    .split('\n')
    .map((line) => line.replace(/^\S+ (stdout|stderr) F /, ''))
    .join('\n')
}

/** Resolves when its log has these words. */
async function said(id: string, wanted: string): Promise<void> {
  await whenFile((await view(id)).logPath, () => logOf(id).then((log) => log.includes(wanted)))
}

/** Looks at once, and whenever something about a file has changed, until what is wanted of it is so. */
async function whenFile(path: string, wanted: () => boolean | Promise<boolean>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = () => void Promise.resolve(wanted()).then((so) => so && resolve(), reject)
  const watcher = watch(dirname(path), look)
  signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  look()
  await promise.finally(() => watcher.close())
}

async function run(script: string, over: Partial<ContainerSpec> = {}): Promise<string> {
  const id = await container(await sandbox(), script, over)
  await ended(id)
  return logOf(id)
}

async function exec(id: string, command: readonly string[], input?: string) {
  await using session = await runtime.exec(id, { command, stdin: input !== undefined, tty: false }, signal)
  session.stdin?.end(input)
  const [out, err] = await Promise.all([text(session.stdout), text(session.stderr!)])
  return { out, err, code: await session.exited }
}

describe.skipIf(missing !== undefined)('the process runtime', () => {
  beforeEach(async () => {
    folder = mkdtempSync('/tmp/sluice-pods-')
    mkdirSync(join(folder, 'logs'))
    chmodSync(folder, 0o711)
    runtime = openRuntime()
    await runtime.images.import(image.archive, undefined, signal)
  })
  afterEach(async () => {
    for (const { id } of await runtime.list(signal)) await runtime.removeSandbox(id, signal)
    await runtime[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  it('runs a program of an image and says how it ended', async () => {
    const id = await container(await sandbox(), 'echo hello; echo $FROM_IMAGE $MINE >&2; exit 7', {
      env: [['MINE', 'mine too']],
    })
    const { exit } = await ended(id)
    expect(exit).toMatchObject({ code: 7, reason: 'Error' })
    const log = readFileSync((await view(id)).logPath, 'utf8')
    expect(log).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z stdout F hello$/m)
    expect(log).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z stderr F yes mine too$/m)
  })

  it('says that a program that is not there could not be started', async () => {
    const id = await container(await sandbox(), '', { command: ['/bin/nothing'] })
    expect((await ended(id)).exit).toMatchObject({
      code: 128,
      reason: 'StartError',
      message: expect.stringContaining('nothing'),
    })
  })

  it('gives a program no right, no writable root, no other process and no network', async () => {
    const log = await run(
      'id -u; grep -E "CapEff|NoNewPrivs|^Seccomp:" /proc/self/status; touch /bin/x; touch /x; ps | wc -l; cat /proc/net/dev | wc -l; hostname; mount -t tmpfs x /tmp; unshare -U true; ls /sys',
      { user: 1000 },
    )
    expect(log).toContain('1000\n')
    expect(log).toMatch(/CapEff:\s+0{16}/)
    expect(log).toMatch(/NoNewPrivs:\s+1/)
    expect(log).toMatch(/Seccomp:\s+2/)
    expect(log.match(/Read-only file system/g)).toHaveLength(2)
    expect(log).toContain('\nbox\n')
    expect(log).toMatch(/mount: .*(Operation not permitted|permission denied)/)
    expect(log).toMatch(/unshare: .*Operation not permitted/)
    expect(log).toMatch(/ls: \/sys: No such file/)
  })

  it('runs every pod as a user of its own, who owns nothing outside', async () => {
    const [a, b] = [await container(await sandbox(), 'sleep 100'), await container(await sandbox(), 'sleep 100')]
    const users = await Promise.all([a, b].map(async (id) => (await exec(id, ['cat', '/proc/self/uid_map'])).out))
    expect(users).toHaveLength(2)
    const holders = (await runtime.list(signal)).map(({ id }) => {
      const { holder } = JSON.parse(readFileSync(join(folder, 'pods/sandboxes', id, 'sandbox.json'), 'utf8'))
      return /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${holder.pid}/status`, 'utf8'))![1]
    })
    expect(new Set(holders).size).toBe(2)
    expect(holders.every((user) => Number(user) >= 1_900_000_000)).toBe(true)
  })

  it('ends one that obeys by SIGTERM and one that does not by SIGKILL', async () => {
    const polite = await container(
      await sandbox(),
      'trap "echo bye; exit 3" TERM; echo up; while true; do sleep 0.05; done',
    )
    await said(polite, 'up')
    await runtime.stopContainer(polite, 30_000, signal)
    expect((await view(polite)).exit).toMatchObject({ code: 3 })
    expect(await logOf(polite)).toContain('bye')
    const deaf = await container(await sandbox(), 'trap "" TERM; echo up; while true; do sleep 0.05; done')
    await said(deaf, 'up')
    await runtime.stopContainer(deaf, 200, signal)
    expect((await view(deaf)).exit).toMatchObject({ code: 137 })
  })

  it('stays in its memory, and the reason says so', async () => {
    const id = await container(await sandbox(), 'dd if=/dev/zero of=/dev/null bs=200M count=2; tail /dev/zero', {
      resources: { memoryLimitBytes: 32 * 1024 * 1024 },
    })
    expect((await ended(id)).exit).toMatchObject({ code: 137, reason: 'OOMKilled' })
  })

  it('holds a fork bomb, and nothing of it is left', async () => {
    const box = await sandbox()
    const id = await container(box, 'bomb() { bomb | bomb & }; bomb; sleep 100', { resources: { pidsLimit: 64 } })
    const other = await container(box, 'echo alive; sleep 100', { name: 'd' })
    await said(other, 'alive')
    const stats = (await runtime.stats(signal)).find((one) => one.id === box)!
    expect(stats.containers.find((one) => one.id === id)?.pids ?? 0).toBeLessThanOrEqual(64)
    expect((await exec(other, ['echo', 'still'])).out).toBe('still\n')
    await runtime.stopContainer(id, 0, signal)
    expect((await view(id)).state).toBe('exited')
    expect((await runtime.stats(signal)).find((one) => one.id === box)!.pids).toBeLessThan(10)
  })

  it('gives a command beside the program the same box, streams and exit code', async () => {
    const id = await container(await sandbox(), 'echo data > /tmp/f; echo up; sleep 100', {
      user: 1234,
      env: [['SECRET', 's3cret']],
    })
    await said(id, 'up')
    const { out, err, code } = await exec(
      id,
      [
        'sh',
        '-c',
        'cat; cat /tmp/f; id -u; echo $SECRET; grep -E "CapEff|Seccomp:" /proc/self/status; ps; echo oops >&2; exit 9',
      ],
      'typed\n',
    )
    expect(out).toMatch(/^typed\ndata\n1234\ns3cret\nCapEff:\s+0{16}\nSeccomp:\s+2/)
    expect(out).toContain('sleep 100')
    expect(err).toBe('oops\n')
    expect(code).toBe(9)
  })

  it('gives a command a terminal of the right size, and changes it', async () => {
    const id = await container(await sandbox(), 'sleep 100')
    await using session = await runtime.exec(
      id,
      {
        command: ['sh', '-c', 'stty size; read x; stty size; exit 4'],
        stdin: true,
        tty: true,
        size: { columns: 91, rows: 17 },
      },
      signal,
    )
    let seen = ''
    const first = Promise.withResolvers<void>()
    session.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString('utf8')
      if (seen.includes('17 91')) first.resolve()
    })
    await first.promise
    session.resize({ columns: 120, rows: 40 })
    session.stdin!.write('\n')
    expect(await session.exited).toBe(4)
    expect(seen).toContain('40 120')
  })

  it('goes on while no agent is there, and the next one takes it up with what it said meanwhile', async () => {
    const box = await sandbox()
    const id = await container(box, 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.02; done')
    const short = await container(box, 'read x; echo last words; exit 5', { name: 'd', stdin: true })
    await said(id, 'line 1')
    const { startedMs } = await view(id)
    await runtime[Symbol.asyncDispose]()
    const pipe = join(folder, 'pods/sandboxes', box, 'd.stdin')
    writeFileSync(pipe, '\n')
    const status = join(folder, 'pods/sandboxes', box, short, 'status')
    await whenFile(status, () => readFileSync(status, 'utf8').includes('exit-code'))
    runtime = openRuntime()
    expect(await view(id)).toMatchObject({ state: 'running', startedMs })
    expect(await view(short)).toMatchObject({ state: 'exited', exit: { code: 5 } })
    expect(await logOf(short)).toContain('last words')
    await said(id, 'line 20')
    const lines = (await logOf(id)).split('\n').filter((line) => line !== '')
    expect(lines).toEqual(lines.map((_, at) => `line ${at}`))
    expect((await exec(id, ['echo', 'again'])).out).toBe('again\n')
  })

  it('forwards a port to a program that listens on the loopback of its pod', async () => {
    const box = await sandbox()
    const id = await container(box, 'echo up; nc -l -p 8080 -e cat')
    await said(id, 'up')
    const duplex = await runtime.portForward(box, 8080, signal)
    duplex.end('through the wall')
    expect(await text(duplex)).toBe('through the wall')
    await expect(runtime.portForward(box, 9, signal)).rejects.toMatchObject({ code: 'SLUICE_POD_PORT' })
  })

  it('shares a network among the containers of a pod and with nobody else', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const box = await sandbox()
    const web = await container(box, 'echo up; nc -l -p 8080 -e echo inside')
    await said(web, 'up')
    const peer = await container(box, `nc 127.0.0.1 8080; nc -w 1 127.0.0.1 ${port} || echo walled`, { name: 'd' })
    await ended(peer)
    expect(await logOf(peer)).toMatch(/inside\n[\s\S]*walled/)
    server.close()
  })

  it('mounts what it is told, and a link planted by a pod leads nowhere else', async () => {
    const data = join(folder, 'data')
    mkdirSync(data, { mode: 0o777 })
    chmodSync(data, 0o777)
    writeFileSync(join(folder, 'config'), 'configured')
    const mounts = [
      { hostPath: join(folder, 'config'), containerPath: '/data/etc/config', readOnly: true },
      { hostPath: data, containerPath: '/data', readOnly: false },
    ]
    const box = await sandbox()
    const first = await container(
      box,
      'cat /data/etc/config; echo x > /data/f; echo x > /data/etc/config; rm -rf /data/etc',
      { mounts },
    )
    await ended(first)
    expect(await logOf(first)).toContain('configured')
    expect(readFileSync(join(folder, 'config'), 'utf8')).toBe('configured')
    expect(readFileSync(join(data, 'f'), 'utf8')).toBe('x\n')
    await runtime.removeContainer(first, signal)
    rmSync(join(data, 'etc'), { recursive: true })
    const outside = join(folder, 'outside')
    mkdirSync(outside)
    symlinkSync(outside, join(data, 'etc'))
    const second = await container(box, 'cat /data/etc/config', { mounts, attempt: 1 }).catch((error: unknown) => error)
    expect(readdirSync(outside)).toEqual([])
    if (typeof second === 'string') await ended(second)
  })

  it('takes a flood of lines without losing one, in files that stay small', async () => {
    const LINES = 400_000
    const id = await container(await sandbox(), `awk 'BEGIN { for (i = 0; i < ${LINES}; i++) print i }'`)
    await ended(id)
    const { logPath } = await view(id)
    const names = readdirSync(dirname(logPath)).sort()
    const files = names.filter((name) => name !== basename(logPath)).concat(basename(logPath))
    expect(files.length).toBeGreaterThan(1)
    let next = 0
    for (const name of files) {
      const text = readFileSync(join(dirname(logPath), name), 'utf8')
      expect(text.length).toBeLessThan(11 * 1024 * 1024)
      for (const line of text.matchAll(/ stdout F (\d+)$/gm)) expect(Number(line[1]) === next++ || line[0]).toBe(true)
    }
    expect(next).toBe(LINES)
  })

  it('stands still and goes on', async () => {
    const box = await sandbox()
    const id = await container(box, 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.01; done')
    await said(id, 'line 3')
    await runtime.freeze(box, true, signal)
    const use = async () => (await runtime.stats(signal))[0]!.containers[0]!.cpuS
    const before = await use()
    // Another container runs for as long as that one would have said twenty lines.
    const other = await container(await sandbox(), 'i=0; while [ $i -lt 20 ]; do i=$((i+1)); sleep 0.01; done')
    await ended(other)
    expect(await use()).toBeCloseTo(before, 2)
    const held = (await logOf(id)).split('\n').length
    await runtime.freeze(box, false, signal)
    await said(id, `line ${held + 5}`)
    await runtime.freeze(box, true, signal)
    await runtime.stopContainer(id, 0, signal)
    expect((await view(id)).exit).toMatchObject({ code: 137 })
  })
})
