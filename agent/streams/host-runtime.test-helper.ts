import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { type Duplex, PassThrough, Readable, Writable } from 'node:stream'
import { type IPty, spawn as spawnPty } from '@lydell/node-pty'
import { SluiceError } from '../../api/errors.ts'
import type {
  AttachOptions,
  ContainerSpec,
  ContainerView,
  ExecOptions,
  ExecSession,
  ImageStore,
  PodRuntime,
  SandboxSpec,
  SandboxState,
  SandboxStats,
} from '../pods/runtimes/runtime.ts'

interface Held {
  view: ContainerView
  readonly spec: ContainerSpec
  child: ChildProcess | undefined
  readonly output: PassThrough
}

/**
 * Containers as plain child processes of this machine: no isolation, real programs, real logs, real exit codes. For
 * tests of what is between `kubectl` and a container.
 */
export class HostRuntime implements PodRuntime {
  readonly name = 'process'
  readonly version = 'host://1'
  readonly #sandboxes = new Map<string, { state: SandboxState; readonly logs: string }>()
  readonly #containers = new Map<string, Held>()
  readonly #wakes = new Set<() => void>()
  #next = 0

  get images(): ImageStore {
    throw new SluiceError('SLUICE_POD_IMAGE_MISSING', 'child processes have no images')
  }

  async list(): Promise<readonly SandboxState[]> {
    return [...this.#sandboxes.values()].map(({ state }) => ({
      ...state,
      containers: state.containers.map(({ id }) => this.#containers.get(id)!.view),
    }))
  }

  async createSandbox(spec: SandboxSpec): Promise<SandboxState> {
    const { podUid, namespace, name, attempt, labels } = spec
    const id = `s${++this.#next}`
    const state = { id, podUid, namespace, name, attempt, labels, ready: true, createdMs: Date.now(), ips: [] }
    this.#sandboxes.set(id, { state: { ...state, containers: [] }, logs: spec.logDirectory })
    return { ...state, containers: [] }
  }

  async removeSandbox(sandboxId: string): Promise<void> {
    for (const { id } of this.#sandboxes.get(sandboxId)?.state.containers ?? []) await this.stopContainer(id)
    this.#sandboxes.delete(sandboxId)
  }

  async createContainer(sandboxId: string, spec: ContainerSpec): Promise<string> {
    const sandbox = this.#sandboxes.get(sandboxId)!
    const id = `c${++this.#next}`
    const { name, attempt, labels } = spec
    const logPath = `${sandbox.logs}/${spec.logPath}`
    const view: ContainerView = {
      ...{ id, name, attempt, labels, logPath, state: 'created', createdMs: Date.now() },
      ...{ imageId: 'host', imageName: 'host' },
    }
    this.#containers.set(id, { view, spec, child: undefined, output: new PassThrough() })
    sandbox.state = { ...sandbox.state, containers: [...sandbox.state.containers, view] }
    return id
  }

  async startContainer(containerId: string): Promise<void> {
    const held = this.#containers.get(containerId)!
    mkdirSync(dirname(held.view.logPath), { recursive: true })
    const log = createWriteStream(held.view.logPath, { flags: 'a' })
    const [program = 'true', ...args] = [...held.spec.command, ...held.spec.args]
    const child = spawn(program, args, { stdio: 'pipe', cwd: held.spec.workingDirectory, detached: true })
    held.child = child
    held.view = { ...held.view, state: 'running', startedMs: Date.now() }
    for (const name of ['stdout', 'stderr'] as const) {
      let left = ''
      child[name].on('data', (data: Buffer) => {
        if (name === 'stdout' && held.output.listenerCount('data') > 0) held.output.write(data)
        const lines = (left + data.toString()).split('\n')
        left = lines.pop() ?? ''
        const time = new Date().toISOString().replace('Z', '000000Z')
        if (lines.length > 0) log.write(lines.map((line) => `${time} ${name} F ${line}\n`).join(''))
      })
    }
    child.once('close', (code, signal) => {
      log.end(() => {
        const exit = { code: code ?? (signal === 'SIGKILL' ? 137 : 143), reason: code === 0 ? 'Completed' : 'Error' }
        held.view = { ...held.view, state: 'exited', exit: { ...exit, finishedMs: Date.now() } }
        held.output.end()
        for (const wake of this.#wakes) wake()
      })
    })
    await once(child, 'spawn')
  }

  async stopContainer(containerId: string): Promise<void> {
    const held = this.#containers.get(containerId)
    if (held?.child?.pid === undefined || held.view.state !== 'running') return
    const ended = once(held.child, 'close')
    process.kill(-held.child.pid, 'SIGKILL')
    await ended
  }

  async removeContainer(containerId: string): Promise<void> {
    this.#containers.delete(containerId)
  }

  async updateResources(): Promise<void> {}
  async freeze(): Promise<void> {}
  async reopenLog(): Promise<void> {}

  async exec(_containerId: string, { command, stdin, tty, size }: ExecOptions): Promise<ExecSession> {
    const [program = '', ...args] = command
    if (tty) return ptySession(spawnPty(program, args, { cols: size?.columns ?? 80, rows: size?.rows ?? 24 }), stdin)
    const child = spawn(program, args, { stdio: 'pipe' })
    try {
      await once(child, 'spawn')
    } catch (cause) {
      throw new SluiceError('SLUICE_POD_EXEC', `${program} cannot be run in the container`, { cause })
    }
    const exited = once(child, 'exit').then(([code]: unknown[]) => (typeof code === 'number' ? code : 137))
    if (!stdin) child.stdin.end()
    child.stdin.on('error', () => {})
    return {
      stdin: stdin ? child.stdin : undefined,
      stdout: child.stdout,
      stderr: child.stderr,
      resize: () => {},
      exited,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
      },
    }
  }

  async attach(containerId: string, { stdin }: AttachOptions): Promise<ExecSession> {
    const held = this.#containers.get(containerId)!
    const stdout = new PassThrough()
    const copy = (data: Buffer) => stdout.write(data)
    held.output.on('data', copy).on('end', () => stdout.end())
    const input = new Writable({ write: (data: Buffer, _e, done) => held.child!.stdin!.write(data, done) })
    const exited = once(held.output, 'end').then(() => held.view.exit?.code)
    return {
      stdin: stdin ? input : undefined,
      stdout,
      stderr: undefined,
      resize: () => {},
      exited,
      async [Symbol.asyncDispose]() {
        held.output.off('data', copy)
      },
    }
  }

  async portForward(_sandboxId: string, port: number): Promise<Duplex> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    try {
      await once(socket, 'connect')
    } catch (cause) {
      throw new SluiceError('SLUICE_POD_PORT', `nothing listens on port ${port} of the pod`, { cause })
    }
    return socket
  }

  async stats(): Promise<readonly SandboxStats[]> {
    return [...this.#sandboxes.values()].map(({ state }) => {
      const containers = state.containers.flatMap(({ id, name }) => {
        const { child, view } = this.#containers.get(id)!
        if (child?.pid === undefined || view.state !== 'running') return []
        return [{ id, name, startedMs: view.startedMs ?? 0, ...processUse(child.pid) }]
      })
      const sum = (of: 'cpuS' | 'memoryBytes') => containers.reduce((total, each) => total + each[of], 0)
      return { id: state.id, podUid: state.podUid, containers, cpuS: sum('cpuS'), memoryBytes: sum('memoryBytes') }
    })
  }

  onChange(wake: () => void): () => void {
    this.#wakes.add(wake)
    return () => void this.#wakes.delete(wake)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of this.#sandboxes.keys()) await this.removeSandbox(id)
  }
}

function processUse(pid: number): { cpuS: number; memoryBytes: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / 100, memoryBytes: Number(fields[21]) * 4096 }
}

function ptySession(pty: IPty, stdin: boolean): ExecSession {
  const stdout = new Readable({ read: () => pty.resume() })
  const exited = new Promise<number>((resolve) => {
    pty.onData((data) => {
      if (!stdout.push(Buffer.from(data))) pty.pause()
    })
    pty.onExit(({ exitCode }) => {
      stdout.push(null)
      resolve(exitCode)
    })
  })
  const input = new Writable({
    write(data: Buffer, _encoding, done) {
      pty.write(data.toString())
      done()
    },
  })
  return {
    stdin: stdin ? input : undefined,
    stdout,
    stderr: undefined,
    resize: ({ columns, rows }) => pty.resize(columns, rows),
    exited,
    async [Symbol.asyncDispose]() {
      pty.kill()
    },
  }
}
