import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Clock, delay } from '../../../../api/clock.ts'
import { SluiceError } from '../../../../api/errors.ts'
import { SOCKETS } from '../choice.ts'
import { EngineEvents } from '../engine-events.ts'
import { pauseArchive } from '../pause-image.ts'
import { connectThrough, RELAY_ARGUMENTS } from '../relay.ts'
import type {
  AttachOptions,
  ContainerSpec,
  ExecOptions,
  ExecSession,
  PodRuntime,
  Resources,
  SandboxSpec,
  SandboxState,
  SandboxStats,
  WindowSize,
} from '../runtime.ts'
import { asList, asMap, numberAt, PodmanApi, Refused, textAt } from './api.ts'
import { commandSession } from './commands.ts'
import { eventWords, LOOK_MS } from './events.ts'
import { PodmanImages } from './images.ts'
import { containerWords, podWords, resourceWords } from './specs.ts'
import { States } from './states.ts'

export interface PodmanOptions {
  /** Where podman's service listens. Default `/run/podman/podman.sock`. */
  readonly socket?: string
  readonly owner: string
  readonly folder: string
  readonly clock: Clock
  /** Parent of the pods' control groups. Default `/kubepods`; with systemd's groups podman chooses. */
  readonly cgroupBase?: string
  /** Starts a program that can see podman's processes. Default: on this machine. */
  readonly spawn?: (argv: readonly string[]) => ChildProcess
}

const PAUSE_IMAGE = 'localhost/sluice/pause:1'
const SETTLE_LOOK_MS = 10
const SETTLE_TRIES = 500
const AFTER_GRACE_MS = 60_000
const ATTACHED_MS = 5000
const START_ERROR_CODE = 128
/** conmon's word for opening its log anew (its `ctl` pipe takes three numbers). */
const REOPEN_LOGS = '2 0 0\n'

/**
 * Pods with podman, over its REST interface. podman has no daemon: every container is held by its own conmon, so that
 * neither this agent nor podman's service is needed for what runs.
 */
export class PodmanRuntime implements PodRuntime {
  readonly name = 'podman'
  readonly version: string
  readonly images: PodmanImages
  readonly #options: PodmanOptions
  readonly #api: PodmanApi
  readonly #states: States
  readonly #cgroupParent: string | undefined
  readonly #events: EngineEvents<unknown>
  readonly #stop = new AbortController()
  #pause: Promise<void> | undefined

  private constructor(options: PodmanOptions, api: PodmanApi, version: string, cgroupManager: string) {
    this.#options = options
    this.#api = api
    this.version = `podman://${version}`
    this.#cgroupParent = cgroupManager === 'cgroupfs' ? (options.cgroupBase ?? '/kubepods') : undefined
    this.#states = new States(api, options.owner)
    this.images = new PodmanImages(
      api,
      options.folder,
      () => options.clock.now(),
      (error, what) => trouble(error, what),
    )
    this.#events = new EngineEvents(eventWords(api, this.#states, options.clock, options.owner), options.clock, LOOK_MS)
  }

  /** Throws `SLUICE_POD_RUNTIME_MISSING` or `SLUICE_POD_RUNTIME_DOWN`. */
  static async open(options: PodmanOptions, signal: AbortSignal): Promise<PodmanRuntime> {
    const api = new PodmanApi(options.socket ?? SOCKETS.podman)
    try {
      const info = await api.call('GET', '/info', { signal })
      return new PodmanRuntime(options, api, textAt(info, 'version', 'Version'), textAt(info, 'host', 'cgroupManager'))
    } catch (error) {
      api[Symbol.dispose]()
      throw trouble(error, 'it cannot be asked')
    }
  }

  async list(signal: AbortSignal): Promise<readonly SandboxState[]> {
    try {
      return await this.#states.list(signal)
    } catch (error) {
      throw trouble(error, 'its pods cannot be listed')
    }
  }

  async createSandbox(spec: SandboxSpec, signal: AbortSignal): Promise<SandboxState> {
    let id = ''
    try {
      this.#pause ??= this.#ensurePause(signal)
      await this.#pause.catch((error: unknown) => {
        this.#pause = undefined
        throw error
      })
      const body = podWords(spec, this.#options.owner, PAUSE_IMAGE, this.#cgroupParent)
      id = textAt(await this.#api.call('POST', '/pods/create', { signal, body }), 'Id')
      await this.#api.call('POST', `/pods/${id}/start`, { signal })
      const made = (await this.#states.list(signal)).find((one) => one.id === id)
      if (made === undefined) throw gone(id)
      return made
    } catch (error) {
      if (id !== '') await this.#removePod(id).catch(() => undefined)
      throw trouble(error, `a sandbox for ${spec.namespace}/${spec.name} cannot be made`)
    }
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    try {
      await this.#api.call('POST', `/pods/${id}/unpause`, { signal }).catch(ignoreRefusal)
      await this.#removePod(id)
    } catch (error) {
      throw trouble(error, 'the sandbox cannot be removed')
    }
    this.#events.changed()
  }

  async createContainer(sandboxId: string, spec: ContainerSpec, signal: AbortSignal): Promise<string> {
    try {
      const sandbox = await this.#states.spec(sandboxId, signal)
      if (sandbox === undefined) throw gone(sandboxId)
      mkdirSync(dirname(join(sandbox.logDirectory, spec.logPath)), { recursive: true, mode: 0o750 })
      const body = containerWords(spec, sandboxId, sandbox, this.#options.owner)
      const id = textAt(await this.#api.call('POST', '/containers/create', { signal, body }), 'Id')
      this.images.used(spec.image.id)
      return id
    } catch (error) {
      throw trouble(error, `container ${spec.name} cannot be made`, 'SLUICE_POD_START')
    }
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.call('POST', `/containers/${id}/start`, { signal })
    } catch (error) {
      if (error instanceof Refused) {
        const finishedMs = this.#options.clock.now()
        const exit = { code: START_ERROR_CODE, reason: 'StartError', message: error.message, finishedMs }
        this.#states.notStarted.set(id, exit)
      }
      throw trouble(error, 'the container cannot be started', 'SLUICE_POD_START')
    } finally {
      this.#events.changed()
    }
  }

  async stopContainer(id: string, graceMs: number, signal: AbortSignal): Promise<void> {
    const query = { timeout: Math.ceil(graceMs / 1000) }
    try {
      // What stands still hears no signal.
      await this.#api.call('POST', `/containers/${id}/unpause`, { signal }).catch(ignoreRefusal)
      this.#states.stopped.add(id)
      const options = { signal, query, timeoutMs: graceMs + AFTER_GRACE_MS }
      await this.#api.call('POST', `/containers/${id}/stop`, options).catch(ignoreGone)
    } catch (error) {
      throw trouble(error, 'the container does not end', 'SLUICE_POD_STOP')
    }
    this.#events.changed()
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.call('DELETE', `/containers/${id}`, { signal, query: { force: true, v: true } }).catch(ignoreGone)
    } catch (error) {
      throw trouble(error, 'the container cannot be removed')
    }
    this.#states.notStarted.delete(id)
    this.#states.stopped.delete(id)
  }

  async updateResources(id: string, resources: Resources, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.call('POST', `/containers/${id}/update`, { signal, body: resourceWords(resources) })
    } catch (error) {
      throw trouble(error, 'limits cannot be changed')
    }
  }

  async freeze(sandboxId: string, frozen: boolean, signal: AbortSignal): Promise<void> {
    const sandbox = (await this.list(signal)).find(({ id }) => id === sandboxId)
    if (sandbox === undefined) throw gone(sandboxId)
    const running = sandbox.containers.filter(({ state }) => state === 'running')
    const what = frozen ? 'pause' : 'unpause'
    try {
      await Promise.all(
        running.map(({ id }) => this.#api.call('POST', `/containers/${id}/${what}`, { signal }).catch(ignoreRefusal)),
      )
    } catch (error) {
      throw trouble(error, 'the pod cannot be made to stand still or go on')
    }
  }

  async exec(id: string, { command, stdin, tty, size }: ExecOptions, signal: AbortSignal): Promise<ExecSession> {
    try {
      const body = { Cmd: command, AttachStdin: stdin, AttachStdout: true, AttachStderr: true, Tty: tty }
      const execId = textAt(await this.#api.call('POST', `/containers/${id}/exec`, { signal, body }), 'Id')
      const start = {
        ...{ Detach: false, Tty: tty },
        ...(size === undefined ? {} : { h: size.rows, w: size.columns }),
      }
      const socket = await this.#api.hijack(`/exec/${execId}/start`, { signal, body: start })
      return commandSession({
        ...{ socket, stdin, tty },
        resize: (next) => this.#resize(`/exec/${execId}/resize`, next),
        result: () => this.#commandResult(execId, signal),
      })
    } catch (error) {
      throw trouble(error, 'the command cannot be run', 'SLUICE_POD_EXEC')
    }
  }

  async attach(id: string, { stdin, tty }: AttachOptions, signal: AbortSignal): Promise<ExecSession> {
    try {
      const query = { stream: true, stdin, stdout: true, stderr: true, logs: false }
      const socket = await this.#api.hijack(`/containers/${id}/attach`, { signal, query })
      return commandSession({
        ...{ socket, stdin, tty },
        resize: (next) => this.#resize(`/containers/${id}/resize`, next),
        result: async () => {
          // Whoever lets go of one that runs does not wait for its end.
          await this.#events.settled(id, ATTACHED_MS)
          const found = (await this.list(signal)).flatMap(({ containers }) => containers).find((one) => one.id === id)
          return found?.exit?.code
        },
      })
    } catch (error) {
      throw trouble(error, 'it cannot be attached to', 'SLUICE_POD_EXEC')
    }
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const pid = await this.#states.infraPid(sandboxId, signal).catch((error: unknown) => {
      throw trouble(error, 'the port cannot be forwarded', 'SLUICE_POD_PORT')
    })
    if (pid === undefined) throw gone(sandboxId)
    const argv = ['nsenter', '-t', String(pid), '-n', '--', ...RELAY_ARGUMENTS, String(port)]
    return await connectThrough((this.#options.spawn ?? spawnHere)(argv), port, signal)
  }

  async stats(signal: AbortSignal): Promise<readonly SandboxStats[]> {
    const list = await this.list(signal)
    const running = list.flatMap(({ containers }) => containers.filter(({ state }) => state === 'running'))
    const query = `?stream=false&${running.map(({ id }) => `containers=${id}`).join('&')}`
    const read =
      running.length === 0
        ? undefined
        : await this.#api.call('GET', `/containers/stats${query}`, { signal }).catch((error: unknown) => {
            throw trouble(error, 'what is used cannot be read')
          })
    const byId = new Map(asList(asMap(read)['Stats']).map((one) => [textAt(one, 'ContainerID'), one]))
    return list
      .filter(({ ready }) => ready)
      .map(({ id, podUid, containers }) => {
        const uses = containers
          .filter(({ state }) => state === 'running')
          .map((one) => {
            const found = byId.get(one.id)
            return {
              ...{ id: one.id, name: one.name, startedMs: one.startedMs ?? one.createdMs },
              cpuS: numberAt(found, 'CPUNano') / 1e9,
              memoryBytes: numberAt(found, 'MemUsage'),
              pids: numberAt(found, 'PIDs'),
            }
          })
        const sum = (of: 'cpuS' | 'memoryBytes' | 'pids') => uses.reduce((total, each) => total + each[of], 0)
        return { id, podUid, cpuS: sum('cpuS'), memoryBytes: sum('memoryBytes'), pids: sum('pids'), containers: uses }
      })
  }

  /** podman has no word for it; conmon, which writes the log, has. */
  async reopenLog(id: string, signal: AbortSignal): Promise<void> {
    try {
      const inspected = await this.#api.call('GET', `/containers/${id}/json`, { signal })
      const pipe = await open(join(dirname(textAt(inspected, 'OCIConfigPath')), 'ctl'), 'r+')
      try {
        await pipe.write(REOPEN_LOGS)
      } finally {
        await pipe.close()
      }
      const path = textAt(inspected, 'HostConfig', 'LogConfig', 'Path')
      for (let tries = 0; tries < SETTLE_TRIES && path !== '' && !existsSync(path); tries++) {
        await delay(this.#options.clock, SETTLE_LOOK_MS, signal)
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
      throw trouble(error, 'its log cannot be opened anew')
    }
  }

  onChange(wake: () => void): () => void {
    return this.#events.onChange(wake)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the agent stops'))
    await this.#events[Symbol.asyncDispose]()
    this.#api[Symbol.dispose]()
  }

  /** The end of its output may be a moment before its own. */
  async #commandResult(execId: string, signal: AbortSignal): Promise<number> {
    for (let tries = 0; tries < SETTLE_TRIES; tries++) {
      const found = await this.#api.call('GET', `/exec/${execId}/json`, { signal })
      if (asMap(found)['Running'] !== true) return numberAt(found, 'ExitCode')
      await delay(this.#options.clock, SETTLE_LOOK_MS, signal)
    }
    throw new SluiceError('SLUICE_POD_RUNTIME_STREAM', 'podman was lost before the command had a result', {
      hint: 'The command may still run, or have ended in any way: look, and run it again.',
    })
  }

  #resize(path: string, { columns, rows }: WindowSize): void {
    const { signal } = this.#stop
    // A terminal that has just been closed has no size.
    this.#api.call('POST', path, { signal, query: { h: rows, w: columns } }).catch(() => undefined)
  }

  async #removePod(id: string): Promise<void> {
    const { signal } = this.#stop
    await this.#api.call('DELETE', `/pods/${id}`, { signal, query: { force: true, timeout: 0 } }).catch(ignoreGone)
  }

  /** The image of what keeps a pod: podman builds one of its own from a program that distributions leave out. */
  async #ensurePause(signal: AbortSignal): Promise<void> {
    if ((await this.images.find(PAUSE_IMAGE, signal)) !== undefined) return
    const upload = await pauseArchive(PAUSE_IMAGE)
    if (upload === undefined) {
      throw new SluiceError('SLUICE_POD_IMAGE_MISSING', `There is no image ${PAUSE_IMAGE} for sandboxes`, {
        hint: `Give podman one under that name, whose program /pause waits for ever.`,
      })
    }
    await this.#api.call('POST', '/images/load', { signal, upload })
  }
}

const spawnHere = ([program, ...args]: readonly string[]): ChildProcess =>
  spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true, cwd: '/' })

const ignoreGone = (error: unknown): void => {
  if (!(error instanceof Refused) || error.status !== 404) throw error
}

const ignoreRefusal = (error: unknown): void => {
  if (!(error instanceof Refused)) throw error
}

const gone = (id: string): SluiceError =>
  new SluiceError('SLUICE_POD_GONE', `There is no sandbox ${id.slice(0, 12)} of this gateway`)

function trouble(error: unknown, what: string, code = 'SLUICE_POD_RUNTIME_FAILED'): SluiceError {
  if (!(error instanceof Refused)) throw error
  return new SluiceError(code, `podman: ${what}: ${error.message}`, { cause: error })
}
