import type { Duplex, Readable, Writable } from 'node:stream'

/**
 * What every container runtime of a gateway is to the rest of it. Four rooms build on this: `process/` (bubblewrap and
 * cgroups, no engine), `containerd/` (CRI), `wasm/` and `podman/`. All methods reject with a `SluiceError` whose code
 * starts with `SLUICE_POD_` and whose message a person can act upon, and none changes anything that it does not name.
 *
 * A sandbox is what the containers of a pod share; its id and those of containers are the runtime's own. Everything is
 * held by the runtime, not by the agent: `list` after a restart of the agent says what is there, with the same ids.
 */
export interface PodRuntime extends AsyncDisposable {
  readonly name: RuntimeName
  /** As in `containerRuntimeVersion`: `containerd://1.6.20`, `process://0.8.0`. */
  readonly version: string
  readonly images: ImageStore
  /** Every sandbox of this gateway with its containers, whoever created them and whatever became of them. */
  list(signal: AbortSignal): Promise<readonly SandboxState[]>
  createSandbox(spec: SandboxSpec, signal: AbortSignal): Promise<SandboxState>
  /** Ends what runs in it at once and removes it, its containers and its network. A sandbox that is gone is no error. */
  removeSandbox(sandboxId: string, signal: AbortSignal): Promise<void>
  createContainer(sandboxId: string, spec: ContainerSpec, signal: AbortSignal): Promise<string>
  startContainer(containerId: string, signal: AbortSignal): Promise<void>
  /** The stop signal, and after `graceMs` SIGKILL to everything in it; resolves when it has ended. */
  stopContainer(containerId: string, graceMs: number, signal: AbortSignal): Promise<void>
  /** Removes an ended container; its log stays where it is. */
  removeContainer(containerId: string, signal: AbortSignal): Promise<void>
  /** Changes limits of a running container; what is absent stays. */
  updateResources(containerId: string, resources: Resources, signal: AbortSignal): Promise<void>
  /** Stops all processes where they are, or lets them go on: a lost tether with `onLoss: freeze`. */
  freeze(sandboxId: string, frozen: boolean, signal: AbortSignal): Promise<void>
  /** Runs a command beside the container's own. Resolves once it runs. */
  exec(containerId: string, options: ExecOptions, signal: AbortSignal): Promise<ExecSession>
  /** The container's own input and output from now on. */
  attach(containerId: string, options: AttachOptions, signal: AbortSignal): Promise<ExecSession>
  /** A connection to a TCP port on the loopback of the pod. */
  portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex>
  /** Use of every running sandbox and container; counters are of the whole life of the container. */
  stats(signal: AbortSignal): Promise<readonly SandboxStats[]>
  /** After the log file was renamed: goes on in a new one at the same path. */
  reopenLog(containerId: string, signal: AbortSignal): Promise<void>
  /** Something began, ended or ran out of memory: look again. Only a wake-up; `list` is the truth. */
  onChange(wake: () => void): () => void
}

export type RuntimeName = 'process' | 'containerd' | 'podman' | 'wasm'

export interface ImageStore {
  list(signal: AbortSignal): Promise<readonly ImageState[]>
  /** Whether it is here; resolves to its id. */
  find(reference: string, signal: AbortSignal): Promise<ImageState | undefined>
  pull(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<ImageState>
  /** An OCI archive, a `docker save` archive, or a folder with an OCI layout; `name` when it does not say its own. */
  import(path: string, name: string | undefined, signal: AbortSignal): Promise<readonly ImageState[]>
  remove(id: string, signal: AbortSignal): Promise<void>
}

export interface ImageState {
  /** `sha256:...` of the image's configuration. */
  readonly id: string
  readonly names: readonly string[]
  /** `name@sha256:...` as pulled. */
  readonly digests: readonly string[]
  readonly bytes: number
  readonly lastUsedMs: number
}

export interface RegistryAuth {
  readonly username: string
  readonly password: string
}

export interface SandboxSpec {
  readonly podUid: string
  readonly namespace: string
  readonly name: string
  /** Grows with every sandbox of the same pod. */
  readonly attempt: number
  readonly hostname: string
  readonly hostNetwork: boolean
  readonly hostPid: boolean
  readonly hostIpc: boolean
  readonly privileged: boolean
  /** Parent of all containers; undefined where the gateway leaves it to the runtime. */
  readonly resources: Resources
  readonly portMappings: readonly PortMapping[]
  readonly logDirectory: string
  /** Of every container that may ever be made in it. */
  readonly containerNames: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface PortMapping {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  readonly containerPort: number
  readonly hostPort: number
  readonly hostIp?: string
}

/** Absent: not limited. */
export interface Resources {
  /** Thousandths of a processor. */
  readonly cpuLimitMilli?: number
  /** Share under contention, thousandths of a processor. */
  readonly cpuRequestMilli?: number
  readonly memoryLimitBytes?: number
  /** Processes and threads. */
  readonly pidsLimit?: number
}

export interface Mount {
  readonly hostPath: string
  readonly containerPath: string
  readonly readOnly: boolean
  /** A volume of the gateway's own making, whose files are its pod's, whoever wrote them. */
  readonly owned?: boolean
}

export interface DeviceMount {
  readonly hostPath: string
  readonly containerPath: string
  readonly permissions: string
}

export interface ContainerSpec {
  readonly name: string
  readonly attempt: number
  readonly image: ImageState
  /** Replaces the image's entry point; empty keeps it. */
  readonly command: readonly string[]
  /** Replaces the image's command; empty keeps it unless `command` was given. */
  readonly args: readonly string[]
  readonly workingDirectory: string | undefined
  /** Wins over the image's own. */
  readonly env: readonly (readonly [name: string, value: string])[]
  readonly mounts: readonly Mount[]
  readonly devices: readonly DeviceMount[]
  readonly resources: Resources
  readonly user: number | undefined
  readonly group: number | undefined
  readonly supplementalGroups: readonly number[]
  readonly readOnlyRoot: boolean
  readonly privileged: boolean
  readonly noNewPrivileges: boolean
  readonly addCapabilities: readonly string[]
  readonly dropCapabilities: readonly string[]
  readonly unconfinedSeccomp: boolean
  /** Below the sandbox's `logDirectory`; in CRI format: `time stream P|F text`. */
  readonly logPath: string
  readonly tty: boolean
  readonly stdin: boolean
  readonly stdinOnce: boolean
  readonly oomScoreAdj: number
  readonly labels: Readonly<Record<string, string>>
  /** Shares the processes of this container of its sandbox, which runs. Its name need not be one of `containerNames`. */
  readonly targetContainerId?: string
}

export interface SandboxState {
  readonly id: string
  readonly podUid: string
  readonly namespace: string
  readonly name: string
  readonly attempt: number
  /** Whether containers can run in it. */
  readonly ready: boolean
  readonly createdMs: number
  /** Empty with the host's network, or none. */
  readonly ips: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly containers: readonly ContainerView[]
}

export interface ContainerView {
  readonly id: string
  readonly name: string
  readonly attempt: number
  readonly state: 'created' | 'running' | 'exited' | 'unknown'
  readonly imageId: string
  readonly imageName: string
  readonly createdMs: number
  readonly startedMs?: number
  readonly exit?: ContainerExit
  readonly logPath: string
  readonly labels: Readonly<Record<string, string>>
}

export interface ContainerExit {
  /** 128 and the signal's number when a signal ended it. */
  readonly code: number
  /** `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`. */
  readonly reason: string
  readonly message?: string
  readonly finishedMs: number
}

export interface WindowSize {
  readonly columns: number
  readonly rows: number
}

export interface ExecOptions {
  readonly command: readonly string[]
  readonly stdin: boolean
  readonly tty: boolean
  readonly size?: WindowSize
}

export interface AttachOptions {
  readonly stdin: boolean
  readonly tty: boolean
}

/**
 * Streams of a command. Ending `stdin` is a half-close: the command reads to the end and its output still comes. With a
 * terminal everything comes on `stdout`. Not reading a stream holds up the command and nothing else.
 */
export interface ExecSession extends AsyncDisposable {
  readonly stdin: Writable | undefined
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  resize(size: WindowSize): void
  /** Exit code once it ended; of an attached container that was let go, undefined. */
  readonly exited: Promise<number | undefined>
}

export interface Use {
  readonly cpuS: number
  /** Working set. */
  readonly memoryBytes: number
  readonly pids?: number
}

export interface SandboxStats extends Use {
  readonly id: string
  readonly podUid: string
  readonly containers: readonly (Use & { readonly id: string; readonly name: string; readonly startedMs: number })[]
}
