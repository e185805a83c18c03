import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Dial } from './containerd/stream-client.ts'
import { clearLeftBehind, ownFolder } from './left-behind.test-helper.ts'

/** Listens on a Unix socket; whoever connects says `PORT HOST` and a line end, and is connected to that. Fixed text. */
const RELAY = `
const { connect, createServer } = require('node:net')
createServer({ allowHalfOpen: true }, (near) => {
  near.on('error', () => {})
  near.once('data', (head) => {
    near.pause()
    const end = head.indexOf(10)
    const [port, host] = head.subarray(0, end).toString().split(' ')
    const far = connect({ port: Number(port), host, allowHalfOpen: true, noDelay: true }, () => {
      near.write('+')
      near.pipe(far)
      far.pipe(near)
      if (head.length > end + 1) far.write(head.subarray(end + 1))
      near.resume()
    })
    far.on('error', () => near.destroy())
    near.on('close', () => far.destroy())
  })
}).listen(process.argv[1], () => process.stdout.write('ready\\n'))
`

/**
 * A machine of its own for a container engine: network, mounts and processes of this one are out of its reach, its files
 * under /run and /var/lib are in memory, and all of it ends with one process.
 */
export class OwnMachine implements AsyncDisposable {
  /** Seen on both sides by the same path. */
  readonly folder: string
  /** Name of the control group for pods, and of nothing else on this machine. */
  readonly cgroupBase: string
  readonly #holder: ChildProcess
  readonly #pid: number
  readonly #relay: string

  private constructor(folder: string, holder: ChildProcess, pid: number) {
    this.folder = folder
    this.cgroupBase = baseOf(folder)
    this.#holder = holder
    this.#pid = pid
    this.#relay = join(folder, 'relay.sock')
  }

  static async start(): Promise<OwnMachine> {
    await clearLeftBehind(KIND, (left) => removeBase(baseOf(left)))
    const folder = ownFolder(KIND)
    mkdirSync(join(folder, 'logs'))
    const script =
      'mount -t tmpfs x /run && mount -t tmpfs x /var/lib && ip link set lo up && echo ready && exec sleep infinity'
    const holder = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'unshare', '-m', '-n', '-p', '-f', '--mount-proc', '--propagation', 'private'],
        ...['--kill-child', 'sh', '-c', script],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(holder.stdout!, 'data')
    const machine = new OwnMachine(folder, holder, childOf(holder.pid!))
    const relay = machine.run([process.execPath, '-e', RELAY, machine.#relay], 'pipe')
    await once(relay.stdout!, 'data')
    return machine
  }

  /** The command that runs a program in it. */
  way(argv: readonly string[]): string[] {
    return ['nsenter', '-t', String(this.#pid), '-n', '-m', '-p', '--', ...argv]
  }

  /** Starts a program in it. */
  run(argv: readonly string[], output: 'pipe' | 'ignore' | number = 'ignore'): ChildProcess {
    const [program, ...args] = this.way(argv)
    return spawn(program!, args, {
      stdio: ['ignore', output, output],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      cwd: '/',
    })
  }

  /** As `run`, to its end; throws with what it said when it fails. */
  async finish(argv: readonly string[]): Promise<string> {
    const child = this.run(argv, 'pipe')
    let said = ''
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`${argv.join(' ')}: ${said}`)
    return said
  }

  /** Connects from inside. */
  readonly dial: Dial = async (port, host, signal): Promise<Duplex> => {
    const socket = connect({ path: this.#relay, allowHalfOpen: true, signal })
    socket.on('error', () => {})
    socket.write(`${port} ${host}\n`)
    await new Promise<void>((resolve, reject) => {
      // Not by listening for data: whoever takes the socket over begins that.
      const refused = () => reject(signal.reason ?? new Error(`nothing listens on ${host}:${port}`))
      socket.once('readable', () => (socket.read(1) === null ? refused() : resolve()))
      socket.once('close', refused)
    })
    return socket
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#holder, 'exit')
    this.#holder.kill('SIGKILL')
    await ended
    thawAll(this.cgroupBase)
    // Whatever was in it ends with its first process; the groups are empty once that has happened.
    while (existsSync(`/proc/${this.#pid}`)) await new Promise((resolve) => setTimeout(resolve, 5))
    await removeBase(this.cgroupBase)
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The program that something which forks has started, as this machine numbers it. */
export function childOf(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  return Number(child)
}

function controllers(): string[] {
  const root = '/sys/fs/cgroup'
  return [root, ...readdirSync(root).map((name) => join(root, name))]
}

const KIND = 'own'

const baseOf = (folder: string): string => `sluice-${folder.slice(-6).toLowerCase()}`

/** What stands still in the first version of control groups does not even end when it is killed. */
function thawAll(base: string): void {
  const thaw = (path: string) => {
    if (!existsSync(path)) return
    for (const entry of readdirSync(path, { withFileTypes: true }))
      if (entry.isDirectory()) thaw(join(path, entry.name))
    writeFileSync(join(path, 'freezer.state'), 'THAWED')
  }
  if (existsSync('/sys/fs/cgroup/freezer')) thaw(join('/sys/fs/cgroup/freezer', base))
}

async function removeBase(base: string): Promise<void> {
  thawAll(base)
  for (const controller of controllers()) await removeGroups(join(controller, base))
}

async function removeGroups(path: string): Promise<void> {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeGroups(join(path, entry.name))
  }
  for (let tries = 0; ; tries++) {
    try {
      rmdirSync(path)
      return
    } catch (error) {
      // The kernel takes its time to let go of a process.
      if (tries > 400) throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}
