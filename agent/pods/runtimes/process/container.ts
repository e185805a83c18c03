import { EventEmitter } from 'node:events'
import { closeSync, type FSWatcher, mkdirSync, openSync, watch } from 'node:fs'
import { join } from 'node:path'
import { type Clock, delay } from '../../../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../../../api/errors.ts'
import type { StoredImage } from '../../images/store.ts'
import type { ContainerExit, ContainerSpec, ContainerView, Use } from '../runtime.ts'
import { restArguments } from './arguments.ts'
import type { BoxKind } from './box-kind.ts'
import { type ControlGroups, DEFAULT_PIDS } from './control-group.ts'
import { LogPump, type StreamName } from './cri-log.ts'
import { claimed, FD, handedOver, launch, started, wayIn } from './launch.ts'
import { childrenOf, endProcess, hasLeft, isAlive, markOf, signalProcess, takesSignal } from './life-signs.ts'
import type { OwnGroups } from './own-groups.ts'
import type { PipeStock } from './pipe-stock.ts'
import { type ContainerRecord, type Records, readStatus } from './records.ts'
import type { Sandbox } from './sandbox.ts'
import type { Tools } from './tools.ts'

export interface Surroundings {
  readonly tools: Tools
  readonly clock: Clock
  readonly groups: ControlGroups
  readonly podGroups: OwnGroups
  readonly records: Records
  readonly pipes: PipeStock
  /** Folder in memory for what is handed to a process once. */
  readonly memoryFolder: string
  readonly seccompFile: string | undefined
  readonly onChange: () => void
  readonly onTrouble: (error: SluiceError) => void
}

/** What a container was made from; known only to the agent that made it, since it holds secrets. */
export interface Making {
  readonly spec: ContainerSpec
  readonly image: StoredImage
  readonly kind: BoxKind
  /** Whose processes it shares. */
  readonly target: Container | undefined
}

const SOON_MS = 20
const SETTING_UP_MS = 2
/** Between two looks at one that is to end. */
const STOPPING_LOOK_MS = 250
const SIGKILL_CODE = 137
const BEGINNING = 4096
/** How long after SIGKILL the kernel may take. */
const KILL_MS = 10_000

/**
 * A container as a process. Its supervisor is bubblewrap's own monitor, a process of its own session with a few hundred
 * kilobytes: it waits for the program and writes its exit code into a file, whether an agent runs or not. What the program
 * says goes into named pipes that the sandbox keeps open. So the agent can go and come back at any moment: it reads the
 * same files and pipes again.
 */
export class Container {
  record: ContainerRecord
  readonly sandbox: Sandbox
  readonly #around: Surroundings
  /** Undefined after a restart of the agent. */
  readonly #making: Making | undefined
  readonly output = new EventEmitter<{ stdout: [Buffer]; stderr: [Buffer]; end: [] }>()
  #left = false
  #pump: LogPump | undefined
  #watcher: FSWatcher | undefined
  /** Exit code of the monitor, when it is our child. */
  #monitorEnded = false
  readonly #ended = Promise.withResolvers<void>()
  /** First words of its error output. */
  #begun = ''

  constructor(around: Surroundings, sandbox: Sandbox, record: ContainerRecord, making: Making | undefined) {
    this.#around = around
    this.sandbox = sandbox
    this.record = record
    this.#making = making
    this.output.setMaxListeners(64)
  }

  get folder(): string {
    return this.#around.records.folderOf(this.sandbox.record.id, this.record.id)
  }

  get group(): string {
    return join(this.sandbox.group, this.record.id)
  }

  get #claimFile(): string {
    return join(this.folder, 'claim')
  }

  get #statusFile(): string {
    return join(this.folder, 'status')
  }

  get running(): boolean {
    return this.record.first !== undefined && this.record.exit === undefined
  }

  view(): ContainerView {
    const { record } = this
    return {
      id: record.id,
      name: record.name,
      attempt: record.attempt,
      state: record.exit !== undefined ? 'exited' : record.first !== undefined ? 'running' : 'created',
      imageId: record.imageId,
      imageName: record.imageName,
      createdMs: record.createdMs,
      ...(record.startedMs === undefined ? {} : { startedMs: record.startedMs }),
      ...(record.exit === undefined ? {} : { exit: record.exit }),
      logPath: record.logFile,
      labels: record.labels,
    }
  }

  use(): Use {
    return this.#around.groups.use(this.group)
  }

  async start(signal: AbortSignal): Promise<void> {
    const making = this.#making
    if (making === undefined || this.record.starting === true) {
      throw new SluiceError('SLUICE_POD_START', `Container ${this.record.name} cannot be started again`, {
        hint: 'Nothing to do: a new one is made in its place.',
      })
    }
    const { groups, tools, memoryFolder, seccompFile, clock } = this.#around
    const { spec, image, kind, target } = making
    groups.make(this.group, { pidsLimit: DEFAULT_PIDS, ...spec.resources })
    this.#save({ ...this.record, starting: true })
    this.#openPump()
    await using files = new AsyncDisposableStack()
    const opened = (path: string, flags: string) => {
      const fd = openSync(path, flags)
      files.defer(() => closeSync(fd))
      return fd
    }
    const pipes = this.sandbox.pipesOf(this.record.name)
    const seccomp = seccompFile === undefined || spec.unconfinedSeccomp ? undefined : opened(seccompFile, 'r')
    const theirs = await target?.doors((path) => opened(path, 'r'), signal)
    const { hostPid } = this.sandbox.record.spec
    const processes =
      theirs === undefined
        ? ['--unshare-user', ...(hostPid ? [] : ['--unshare-pid', ...(kind.isFirst ? ['--as-pid-1'] : [])])]
        : ['--userns', String(FD.userNamespace), ...(hostPid ? [] : ['--pidns', String(FD.pidNamespace)])]
    const variables = kind.variables(spec, image, this.sandbox.record.spec.hostname)
    const args = [...this.record.box, ...restArguments(variables, seccomp === undefined ? undefined : FD.seccomp)]
    const handed = files.use(handedOver(memoryFolder, this.record.id, args.map((each) => `${each}\0`).join('')))
    const child = launch({
      command: [
        ...wayIn(tools, {
          ...this.sandbox.way,
          groups: this.record.groups ?? [],
          joinFiles: groups.joinFiles(this.group),
          claim: this.#claimFile,
          oomScoreAdj: spec.oomScoreAdj,
        }),
        ...[tools.bwrap, ...processes, '--unshare-cgroup-try', '--new-session'],
        ...['--json-status-fd', String(FD.status), '--info-fd', String(FD.info), '--args', String(FD.args), '--'],
        ...kind.command(spec, image),
      ],
      stdio: [
        // Both ends: without a writer the program would read its end at once, and with one it waits.
        spec.stdin ? opened(pipes.stdin, 'r+') : 'ignore',
        opened(pipes.stdout, 'r+'),
        opened(pipes.stderr, 'r+'),
        opened(this.#statusFile, 'a'),
        'pipe',
        handed.fd,
        seccomp ?? 'ignore',
        ...(theirs ?? []),
      ],
    })
    child.unref()
    child.once('exit', () => {
      this.#monitorEnded = true
      this.look()
      // The kernel may still be at clearing away what was inside.
      if (this.record.exit === undefined) clock.after(SOON_MS, () => this.look(), true)
    })
    let pid: number
    try {
      pid = await started(child, signal)
    } catch (error) {
      this.#finish({ code: 128, reason: 'StartError', message: this.#words || toSluiceError(error).message })
      throw error
    }
    const first = markOf(pid)
    if (first === undefined) this.look()
    else this.#save({ ...this.record, first, startedMs: clock.now() })
    this.watch()
    this.#around.onChange()
  }

  /** Takes up what an agent before this one started. */
  adopt(): void {
    const { record } = this
    if (record.exit !== undefined || record.starting !== true) return
    // Before looking: what the agent before had begun is either in its group by now or never will be.
    if (record.first === undefined) claimed(this.#claimFile)
    const first = record.first ?? this.#markFromStatus()
    if (first === undefined || !isAlive(first)) {
      for (const pid of this.#around.groups.processes(this.group)) endProcess(pid)
      this.#openPump()
      this.record = { ...record, ...(first === undefined ? {} : { first }) }
      this.#monitorEnded = true
      this.look()
      return
    }
    this.#save({ ...record, first, startedMs: record.startedMs ?? this.#around.clock.now() })
    this.#openPump()
    this.watch()
    this.look()
  }

  /** Watches for its end. */
  watch(): void {
    if (this.record.exit !== undefined || this.#watcher !== undefined) return
    this.#watcher = watch(this.#statusFile, { persistent: false }, () => this.look())
    this.#watcher.on('error', () => {})
    this.look()
  }

  /** Whether it has ended by now. */
  look(): void {
    if (this.#left || this.record.exit !== undefined) return
    const { first, isFirst } = this.record
    // What waits for its own child says how that ended before it ends itself.
    if (isFirst === true && first !== undefined && isAlive(first)) return
    const { exitCode } = readStatus(this.#statusFile)
    if (exitCode !== undefined) {
      this.#closePump()
      if (exitCode === 1 && /^bwrap: execvp /.test(this.#words)) {
        this.#finish({ code: 128, reason: 'StartError', message: this.#words })
        return
      }
      const oom = exitCode !== 0 && this.#around.groups.oomKills(this.group) > 0
      const reason = oom ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error'
      this.#finish({ code: exitCode, reason })
      return
    }
    if (first !== undefined && isAlive(first)) return
    // Its monitor says how it ended some moments after it did; whoever is its parent hears when that is over.
    if (!this.#monitorEnded && (first === undefined || this.#making !== undefined)) return
    // The monitor says nothing when the program could not be executed, and when it was killed itself.
    this.#closePump()
    const words = this.#words
    if (this.#monitorEnded && words !== '') this.#finish({ code: 128, reason: 'StartError', message: words })
    else if (this.#around.groups.oomKills(this.group) > 0) this.#finish({ code: SIGKILL_CODE, reason: 'OOMKilled' })
    else this.#finish({ code: SIGKILL_CODE, reason: 'ContainerStatusUnknown', message: 'nobody saw it end' })
  }

  async stop(graceMs: number, signal: AbortSignal): Promise<void> {
    if (!this.running) return
    const first = this.record.first!
    const { program } = this
    const signalName = stopSignal(this.record.stopSignal)
    // The kernel keeps from a first process what it did not ask for: waiting for that would be waiting for nothing.
    const isAlone = program === first.pid && this.record.guest !== true && !this.sandbox.record.spec.hostPid
    if (program !== undefined && graceMs > 0 && (!isAlone || takesSignal(program, signalName))) {
      const mark = markOf(program)
      if (mark !== undefined) signalProcess(mark, signalName)
      this.#thaw()
      await this.#endedWithin(graceMs, signal)
    }
    if (!this.running) return
    signalProcess(first, 'SIGKILL')
    this.#thaw()
    await this.#endedWithin(KILL_MS, signal)
    if (this.running) {
      throw new SluiceError('SLUICE_POD_STOP', `Container ${this.record.name} does not end, not even by SIGKILL`, {
        hint: `A process of it waits for hardware or a network disk: look at /proc/${first.pid}/stack.`,
      })
    }
  }

  reopenLog(): void {
    this.#pump?.reopen()
  }

  /** The program, once it is there. */
  get program(): number | undefined {
    const { first, isFirst } = this.record
    if (first === undefined || !isAlive(first)) return undefined
    if (isFirst !== true && !this.sandbox.record.spec.hostPid) return childrenOf(first.pid)[0]
    return hasLeft(first.pid, this.#around.tools.bwrap) ? first.pid : undefined
  }

  /**
   * Its user and process namespaces, opened for whoever enters them, once the box is complete: there is a program in it then.
   * Throws `SLUICE_POD_EXEC` when it does not run.
   */
  async doors(opened: (path: string) => number, signal: AbortSignal): Promise<readonly [user: number, pid: number]> {
    while (this.running && this.program === undefined) await delay(this.#around.clock, SETTING_UP_MS, signal)
    if (!this.running) throw new SluiceError('SLUICE_POD_EXEC', `Container ${this.record.name} does not run`)
    const { pid } = this.record.first!
    return [opened(`/proc/${pid}/ns/user`), opened(`/proc/${pid}/ns/pid`)]
  }

  /** Ends whatever is in its group, also what was on its way in. */
  clear(): void {
    for (const pid of this.#around.groups.processes(this.group)) endProcess(pid)
  }

  /** Lets go of it without ending it. */
  leave(): void {
    this.#left = true
    this.#watcher?.close()
    this.#pump?.[Symbol.dispose]()
    this.#pump = undefined
  }

  get ended(): Promise<void> {
    return this.record.exit === undefined ? this.#ended.promise : Promise.resolve()
  }

  /** What stands still cannot end, and with the first version of control groups not even be killed. */
  #thaw(): void {
    const { groups } = this.#around
    for (const group of [this.group, this.sandbox.group]) groups.freeze(group, false)
  }

  async #endedWithin(ms: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#around
    const stop = new AbortController()
    const waiting = AbortSignal.any([signal, stop.signal])
    const endMs = clock.monotonic() + ms
    // Whoever would say so may have been ended itself, so it is looked at as well.
    for (let leftMs = ms; this.running && leftMs > 0 && !signal.aborted; leftMs = endMs - clock.monotonic()) {
      const pause = delay(clock, Math.min(leftMs, STOPPING_LOOK_MS), waiting).catch(() => undefined)
      await Promise.race([this.ended, pause])
      this.look()
    }
    stop.abort()
    // Nobody waits any more: the grace that is left is the program's, and is not cut short.
    if (this.running) signal.throwIfAborted()
  }

  #finish(exit: Omit<ContainerExit, 'finishedMs'>): void {
    const { first } = this.record
    // The program has ended; whatever it left behind does too.
    if (first !== undefined) signalProcess(first, 'SIGKILL')
    for (const pid of this.#around.groups.processes(this.group)) endProcess(pid)
    this.#watcher?.close()
    this.#closePump()
    const words = this.#words
    const said = exit.reason === 'StartError' && words !== '' ? { message: words } : {}
    this.#save({ ...this.record, exit: { ...exit, ...said, finishedMs: this.#around.clock.now() } })
    this.output.emit('end')
    this.#ended.resolve()
    this.#around.onChange()
  }

  #openPump(): void {
    const { clock, onTrouble } = this.#around
    mkdirSync(join(this.record.logFile, '..'), { recursive: true, mode: 0o750 })
    this.#pump = new LogPump({
      pipes: this.sandbox.pipesOf(this.record.name),
      logFile: this.record.logFile,
      clock,
      onChunk: (stream, chunk) => this.#heard(stream, chunk),
      onError: onTrouble,
    })
  }

  #closePump(): void {
    this.#pump?.finish()
    this.#pump = undefined
  }

  #heard(stream: StreamName, chunk: Buffer): void {
    // It may come in pieces; what is on the way in speaks first, so its beginning is enough.
    if (stream === 'stderr' && this.#begun.length < BEGINNING) this.#begun += chunk.toString('utf8').slice(0, BEGINNING)
    this.output.emit(stream, chunk)
  }

  /** What a program on the way into the sandbox complained of. */
  get #words(): string {
    return /^(?:bwrap|nsenter|chroot|sh): .*$/m.exec(this.#begun)?.[0].slice(0, 512) ?? ''
  }

  #markFromStatus() {
    const { childPid } = readStatus(this.#statusFile)
    return childPid === undefined ? undefined : markOf(childPid)
  }

  #save(record: ContainerRecord): void {
    this.record = record
    this.#around.records.saveContainer(this.sandbox.record.id, record)
  }
}

function stopSignal(name: string): NodeJS.Signals {
  return (/^SIG[A-Z0-9]+$/.test(name) ? name : 'SIGTERM') as NodeJS.Signals
}
