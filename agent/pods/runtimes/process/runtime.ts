import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../../../api/errors.ts'
import { inside, makeMountPoint } from '../../images/inside.ts'
import { type Fetch, FolderImages } from '../../images/store.ts'
import type {
  AttachOptions,
  ContainerSpec,
  DeviceMount,
  ExecOptions,
  ExecSession,
  Mount,
  PodRuntime,
  Resources,
  RuntimeName,
  SandboxSpec,
  SandboxState,
  SandboxStats,
} from '../runtime.ts'
import { FIXED_FILES, FIXED_FOLDERS, mountOrder, whoRuns } from './arguments.ts'
import { attachTo } from './attach.ts'
import { type BoxKind, nativeBox } from './box-kind.ts'
import { Container, type Surroundings } from './container.ts'
import { ControlGroups } from './control-group.ts'
import { execIn } from './exec.ts'
import { handOver } from './hand-over.ts'
import { CLEAN_ENVIRONMENT } from './launch.ts'
import { OwnGroups } from './own-groups.ts'
import { PipeStock } from './pipe-stock.ts'
import { forwardInto } from './port-forward.ts'
import { checkReachable, isWritable } from './reachable.ts'
import { makeFolder, Records } from './records.ts'
import { clearUnfinished, openSandbox, Sandbox } from './sandbox.ts'
import { seccompProgram } from './seccomp.ts'
import { findTools } from './tools.ts'

export interface ProcessRuntimeOptions {
  /** Everything is in here; made when missing. Users of pods must be able to reach it. */
  readonly folder: string
  readonly clock: Clock
  readonly fetch?: Fetch
  /** What is in the boxes; absent: programs of the machine's own kind. */
  readonly kind?: BoxKind
  /** Where they are shared with another runtime; absent: it has its own, in `folder`. */
  readonly images?: FolderImages
  readonly cgroupRoot?: string
  readonly onTrouble: (error: SluiceError) => void
}

/**
 * Pods without a container engine: bubblewrap for the box, control groups for the limits, a user of its own for each pod.
 * Nothing here is a parent of what runs: an agent that begins again takes up what is there.
 */
export class ProcessRuntime implements PodRuntime {
  readonly name: RuntimeName
  readonly version: string
  readonly images: FolderImages
  readonly #around: Surroundings
  readonly #sandboxes = new Map<string, Sandbox>()
  readonly #wakes = new Set<() => void>()
  /** Users of sandboxes that are being made. */
  readonly #reserved = new Set<number>()
  readonly #kind: BoxKind
  readonly #isRoot = process.getuid?.() === 0

  constructor(options: ProcessRuntimeOptions) {
    const tools = findTools()
    const kind = options.kind ?? nativeBox
    this.#kind = kind
    this.name = kind.name
    this.version = `${kind.name}://${kind.version ?? bwrapVersion(tools.bwrap)}`
    mkdirSync(options.folder, { recursive: true, mode: 0o711 })
    if (this.#isRoot) checkReachable(options.folder)
    this.images =
      options.images ??
      new FolderImages({
        folder: join(options.folder, 'images'),
        clock: options.clock,
        ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
      })
    const filter = seccompProgram(process.arch)
    const seccompFile = filter === undefined ? undefined : join(options.folder, 'seccomp.bpf')
    if (seccompFile !== undefined) writeFileSync(seccompFile, filter!)
    const groups = new ControlGroups(options.cgroupRoot)
    this.#around = {
      tools,
      clock: options.clock,
      groups,
      podGroups: new OwnGroups(join(options.folder, 'groups'), groups, options.clock),
      records: new Records(join(options.folder, 'sandboxes')),
      pipes: new PipeStock(tools.mkfifo, join(options.folder, 'pipes'), options.clock),
      memoryFolder: isWritable('/dev/shm') ? '/dev/shm' : options.folder,
      seccompFile,
      onChange: () => {
        for (const wake of this.#wakes) wake()
      },
      onTrouble: options.onTrouble,
    }
    const unfinished = this.#around.records.unfinished()
    for (const { sandbox: record, containers } of this.#around.records.load()) {
      const sandbox = new Sandbox(this.#around, record)
      this.#sandboxes.set(record.id, sandbox)
      for (const one of containers) {
        const container = new Container(this.#around, sandbox, one, undefined)
        sandbox.containers.set(one.id, container)
        container.adopt()
      }
    }
    const known = [...this.#sandboxes.values()].map(({ group }) => group)
    this.#around.podGroups.sweep(new Set([...known, ...unfinished.map(({ group }) => group)]))
    for (const one of unfinished) void clearUnfinished(this.#around, one, this.#sandboxes.values())
  }

  list(): Promise<readonly SandboxState[]> {
    for (const container of this.#containers()) container.look()
    return Promise.resolve([...this.#sandboxes.values()].map((sandbox) => sandbox.state()))
  }

  async createSandbox(spec: SandboxSpec, signal: AbortSignal): Promise<SandboxState> {
    if (spec.privileged) throw unsupported('a privileged container')
    if (spec.portMappings.length > 0 && !spec.hostNetwork) throw unsupported('a host port without hostNetwork')
    if (this.#around.groups.version === undefined && spec.resources.memoryLimitBytes !== undefined) {
      throw unsupported('a memory limit on a machine without writable control groups')
    }
    const user = this.#freeUser()
    if (user !== undefined) this.#reserved.add(user)
    try {
      const sandbox = await openSandbox(this.#around, newId(), spec, user, () => this.#sandboxes.values(), signal)
      this.#sandboxes.set(sandbox.record.id, sandbox)
      return sandbox.state()
    } finally {
      if (user !== undefined) this.#reserved.delete(user)
    }
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    const sandbox = this.#sandboxes.get(id)
    if (sandbox === undefined) return
    for (const container of sandbox.containers.values()) {
      await container.stop(0, signal)
      container.leave()
      container.clear()
      this.#around.groups.remove(container.group)
    }
    sandbox.end()
    this.#sandboxes.delete(id)
    this.#around.records.removeSandbox(id)
    const shared = [...this.#sandboxes.values()].some((other) => other.group === sandbox.group)
    this.#around.onChange()
    if (!shared) await this.#around.podGroups.remove(sandbox.group, signal)
  }

  async createContainer(sandboxId: string, spec: ContainerSpec, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    const sandbox = this.#sandbox(sandboxId)
    this.#around.groups.expectChange()
    if (spec.privileged) throw unsupported(`container ${spec.name}: privileged`)
    const target = spec.targetContainerId === undefined ? undefined : sandbox.containers.get(spec.targetContainerId)
    if (spec.targetContainerId !== undefined && (target === undefined || !this.#kind.isFirst)) {
      throw unsupported(`container ${spec.name}: seeing the processes of that container (--target)`)
    }
    if (spec.tty) throw unsupported(`container ${spec.name}: a terminal (tty: true); exec has one`)
    const image = this.images.get(spec.image.id)
    if (image === undefined) {
      throw new SluiceError('SLUICE_POD_IMAGE_MISSING', `The image ${spec.image.id} is not here any more`)
    }
    const rootPath = this.images.rootOf(image.id)
    this.#kind.check(spec, image, rootPath)
    const who = whoRuns(spec, image.config.user, (path) => textIn(rootPath, path))
    if (who === undefined) {
      throw new SluiceError('SLUICE_POD_START', `The image's user '${image.config.user}' is not in its /etc/passwd`, {
        hint: 'Give the container a runAsUser.',
      })
    }
    await sandbox.ensurePipes(spec.name, signal)
    const id = newId()
    const folder = this.#around.records.folderOf(sandboxId, id)
    const tmpPath = makeFolder(folder, sandbox.record.hostUser)
    for (const path of FIXED_FOLDERS) makeMountPoint(rootPath, path, 'folder')
    for (const path of FIXED_FILES) makeMountPoint(rootPath, path, 'file')
    await this.#handOver(sandbox, spec.mounts, signal)
    const mounts = placeMounts(rootPath, spec.mounts)
    const { clock, records } = this.#around
    const record = {
      id,
      name: spec.name,
      attempt: spec.attempt,
      imageId: image.id,
      imageName: image.names[0] ?? image.id,
      logFile: join(sandbox.record.spec.logDirectory, spec.logPath),
      labels: spec.labels,
      createdMs: clock.now(),
      stopSignal: image.config.stopSignal ?? 'SIGTERM',
      box: this.#kind.box(spec, image, { rootPath, tmpPath, ...who, mounts }),
      groups: groupsOf(spec.devices),
      isFirst: this.#kind.isFirst,
      ...(target === undefined ? {} : { guest: true }),
      unconfinedSeccomp: spec.unconfinedSeccomp,
      oomScoreAdj: spec.oomScoreAdj,
    }
    records.saveContainer(sandboxId, record)
    sandbox.containers.set(id, new Container(this.#around, sandbox, record, { spec, image, kind: this.#kind, target }))
    return id
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    const container = this.#container(id)
    const started = container.start(signal)
    // Written while the box is being made; until then what keeps the image is that a container is of it.
    try {
      this.images.used(container.record.imageId)
    } catch (error) {
      this.#around.onTrouble(toSluiceError(error))
    }
    await started
  }

  async stopContainer(id: string, graceMs: number, signal: AbortSignal): Promise<void> {
    await this.#find(id)?.stop(graceMs, signal)
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    const container = this.#find(id)
    if (container === undefined) return
    await container.stop(0, signal)
    container.leave()
    container.clear()
    container.sandbox.containers.delete(id)
    this.#around.groups.remove(container.group)
    this.#around.records.removeContainer(container.sandbox.record.id, id)
  }

  updateResources(id: string, resources: Resources): Promise<void> {
    this.#around.groups.limit(this.#container(id).group, resources)
    return Promise.resolve()
  }

  freeze(sandboxId: string, frozen: boolean): Promise<void> {
    if (!this.#around.groups.has('freezer')) throw unsupported('standing still, on a machine without a freezer')
    const sandbox = this.#sandbox(sandboxId)
    // Groups are frozen one by one: the first version's do not take what is below along in the same moment.
    for (const container of sandbox.containers.values()) {
      if (container.running) this.#around.groups.freeze(container.group, frozen)
    }
    return Promise.resolve()
  }

  async exec(id: string, options: ExecOptions, signal: AbortSignal): Promise<ExecSession> {
    const { noExec } = this.#kind
    if (noExec !== undefined) {
      throw new SluiceError('SLUICE_POD_EXEC', noExec, { hint: 'Look at its log, or attach to it: `kubectl attach`.' })
    }
    return await execIn(this.#around, this.#container(id), options, signal)
  }

  async attach(id: string, options: AttachOptions, signal: AbortSignal): Promise<ExecSession> {
    return attachTo(this.#container(id), options, signal)
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    return await forwardInto(this.#around.tools, this.#sandbox(sandboxId).way, port, signal)
  }

  stats(): Promise<readonly SandboxStats[]> {
    return Promise.resolve(
      [...this.#sandboxes.values()].map((sandbox) => ({
        id: sandbox.record.id,
        podUid: sandbox.record.spec.podUid,
        ...this.#around.groups.use(sandbox.group),
        containers: [...sandbox.containers.values()]
          .filter(({ running }) => running)
          .map((container) => ({
            id: container.record.id,
            name: container.record.name,
            startedMs: container.record.startedMs ?? container.record.createdMs,
            ...container.use(),
          })),
      })),
    )
  }

  reopenLog(id: string): Promise<void> {
    this.#find(id)?.reopenLog()
    return Promise.resolve()
  }

  onChange(wake: () => void): () => void {
    this.#wakes.add(wake)
    return () => void this.#wakes.delete(wake)
  }

  /** Lets go of everything and ends nothing. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#wakes.clear()
    for (const container of this.#containers()) container.leave()
    this.#around.pipes[Symbol.dispose]()
    return Promise.resolve()
  }

  #freeUser(): number | undefined {
    if (!this.#isRoot) return undefined
    const taken = new Set([...this.#sandboxes.values()].map(({ record }) => record.hostUser))
    let user = this.#kind.firstUser
    while (taken.has(user) || this.#reserved.has(user)) user++
    return user
  }

  /** Volumes become the pod's own, unless another pod is in them at the same time. */
  async #handOver({ record }: Sandbox, mounts: readonly Mount[], signal: AbortSignal): Promise<void> {
    if (record.hostUser === undefined) return
    for (const { hostPath, owned } of mounts) {
      if (owned !== true) continue
      const inUse = [...this.#containers()].some(
        (other) =>
          other.running && other.sandbox.record.hostUser !== record.hostUser && other.record.box.includes(hostPath),
      )
      if (!inUse) await handOver(hostPath, record.hostUser, signal)
    }
  }

  *#containers(): Generator<Container> {
    for (const sandbox of this.#sandboxes.values()) yield* sandbox.containers.values()
  }

  #find(id: string): Container | undefined {
    for (const { containers } of this.#sandboxes.values()) {
      const container = containers.get(id)
      if (container !== undefined) return container
    }
    return undefined
  }

  #container(id: string): Container {
    const container = this.#find(id)
    if (container === undefined) throw new SluiceError('SLUICE_POD_GONE', `There is no container ${id.slice(0, 12)}`)
    return container
  }

  #sandbox(id: string): Sandbox {
    const sandbox = this.#sandboxes.get(id)
    if (sandbox === undefined) throw new SluiceError('SLUICE_POD_GONE', `There is no sandbox ${id.slice(0, 12)}`)
    return sandbox
  }
}

/**
 * Makes the places where things are mounted, in the image or in the mount around them, without ever following a link out
 * of there; returns the mounts with their real places.
 */
function placeMounts(rootPath: string, mounts: readonly Mount[]): Mount[] {
  const placed: Mount[] = []
  for (const mount of mountOrder(mounts)) {
    const kind = statSync(mount.hostPath).isDirectory() ? 'folder' : 'file'
    const path = inside('/', mount.containerPath)
    const outer = placed.findLast(({ containerPath }) => path.startsWith(`${containerPath}/`))
    const scratch = ['/tmp', '/run', '/dev', '/var/tmp', '/proc'].some((each) => path.startsWith(`${each}/`))
    let containerPath = path
    if (outer !== undefined) {
      containerPath = outer.containerPath + makeMountPoint(outer.hostPath, path.slice(outer.containerPath.length), kind)
    } else if (!scratch) containerPath = makeMountPoint(rootPath, path, kind)
    placed.push({ ...mount, containerPath })
  }
  return placed
}

/** Only of what the gateway itself hands out: groups that a pod asks for by number would be those of the machine. */
const groupsOf = (devices: readonly DeviceMount[]): number[] => [
  ...new Set(devices.map(({ hostPath }) => statSync(hostPath).gid).filter((group) => group !== 0)),
]

function textIn(root: string, path: string): string {
  try {
    return readFileSync(inside(root, path, true), 'utf8')
  } catch {
    return ''
  }
}

const newId = (): string => randomBytes(32).toString('hex')

function bwrapVersion(bwrap: string): string {
  return (
    execFileSync(bwrap, ['--version'], { encoding: 'utf8', env: CLEAN_ENVIRONMENT }).trim().split(' ').at(-1) ?? '0'
  )
}

const unsupported = (what: string): SluiceError =>
  new SluiceError('SLUICE_POD_UNSUPPORTED', `The process runtime cannot do ${what}`, {
    hint: 'Run this pod with containerd: `sluice agent --pods containerd`, or leave that out of the pod.',
  })
