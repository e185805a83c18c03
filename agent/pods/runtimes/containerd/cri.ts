import { bytes, Empty, type Fields, flag, int, ints, Message, many, map, one, text, texts } from './wire.ts'

/**
 * The part of the Container Runtime Interface v1 (`runtime.v1`, kubernetes/cri-api) that a gateway uses. Numbers are those
 * of its `api.proto`; what is not named here is passed over when read and left to the runtime's default when written.
 */
export interface Method<In extends Fields, Out extends Fields> {
  readonly path: string
  readonly request: Message<In>
  readonly response: Message<Out>
}

const method =
  (service: string) =>
  <In extends Fields, Out extends Fields>(
    name: string,
    request: Message<In>,
    response: Message<Out>,
  ): Method<In, Out> => ({ path: `/${service}/${name}`, request, response })

const Int64Value = new Message({ value: int(1) })
const PortMapping = new Message({ protocol: int(1), containerPort: int(2), hostPort: int(3), hostIp: text(4) })
export const PROTOCOLS = { TCP: 0, UDP: 1, SCTP: 2 } as const
/** Whose namespace a process is in. */
export const NAMESPACE = { pod: 0, container: 1, node: 2, target: 3 } as const
const NamespaceOption = new Message({ network: int(1), pid: int(2), ipc: int(3), targetId: text(4) })
export const SECCOMP = { runtimeDefault: 0, unconfined: 1 } as const
const SecurityProfile = new Message({ type: int(1), localhostRef: text(2) })
const SandboxSecurity = new Message({
  namespaces: one(1, NamespaceOption),
  privileged: flag(6),
  seccomp: one(9, SecurityProfile),
})
const SandboxMetadata = new Message({ name: text(1), uid: text(2), namespace: text(3), attempt: int(4) })
export const SandboxConfig = new Message({
  metadata: one(1, SandboxMetadata),
  hostname: text(2),
  logDirectory: text(3),
  portMappings: many(5, PortMapping),
  labels: map(6),
  annotations: map(7),
  linux: one(8, new Message({ cgroupParent: text(1), security: one(2, SandboxSecurity) })),
})
export const SANDBOX_READY = 0
const Sandbox = new Message({
  id: text(1),
  metadata: one(2, SandboxMetadata),
  state: int(3),
  createdAtNs: int(4),
  labels: map(5),
  annotations: map(6),
})
const NetworkStatus = new Message({ ip: text(1), more: many(2, new Message({ ip: text(1) })) })
const SandboxStatus = new Message({ id: text(1), state: int(3), network: one(5, NetworkStatus) })

const ImageSpec = new Message({ image: text(1) })
export const LinuxResources = new Message({
  cpuPeriodUs: int(1),
  cpuQuotaUs: int(2),
  cpuShares: int(3),
  memoryLimitBytes: int(4),
  oomScoreAdj: int(5),
  unified: map(9),
})
const ContainerSecurity = new Message({
  capabilities: one(1, new Message({ add: texts(1), drop: texts(2) })),
  privileged: flag(2),
  namespaces: one(3, NamespaceOption),
  runAsUser: one(5, Int64Value),
  readonlyRoot: flag(7),
  supplementalGroups: ints(8),
  noNewPrivileges: flag(11),
  runAsGroup: one(12, Int64Value),
  maskedPaths: texts(13),
  readonlyPaths: texts(14),
  seccomp: one(15, SecurityProfile),
})
const ContainerMetadata = new Message({ name: text(1), attempt: int(2) })
export const ContainerConfig = new Message({
  metadata: one(1, ContainerMetadata),
  image: one(2, ImageSpec),
  command: texts(3),
  args: texts(4),
  workingDirectory: text(5),
  env: many(6, new Message({ key: text(1), value: text(2) })),
  mounts: many(7, new Message({ containerPath: text(1), hostPath: text(2), readonly: flag(3) })),
  devices: many(8, new Message({ containerPath: text(1), hostPath: text(2), permissions: text(3) })),
  labels: map(9),
  annotations: map(10),
  logPath: text(11),
  stdin: flag(12),
  stdinOnce: flag(13),
  tty: flag(14),
  linux: one(15, new Message({ resources: one(1, LinuxResources), security: one(2, ContainerSecurity) })),
})
export const CONTAINER = ['created', 'running', 'exited', 'unknown'] as const
const Container = new Message({
  id: text(1),
  sandboxId: text(2),
  metadata: one(3, ContainerMetadata),
  image: one(4, ImageSpec),
  imageRef: text(5),
  state: int(6),
  createdAtNs: int(7),
  labels: map(8),
  annotations: map(9),
})
export const ContainerStatus = new Message({
  id: text(1),
  state: int(3),
  createdAtNs: int(4),
  startedAtNs: int(5),
  finishedAtNs: int(6),
  exitCode: int(7),
  image: one(8, ImageSpec),
  imageRef: text(9),
  reason: text(10),
  message: text(11),
  logPath: text(15),
})
const Count = new Message({ value: int(1) })
const ContainerStats = new Message({
  attributes: one(1, new Message({ id: text(1) })),
  cpu: one(2, new Message({ coreNs: one(2, Count) })),
  memory: one(3, new Message({ workingSetBytes: one(2, Count) })),
})
const Image = new Message({ id: text(1), tags: texts(2), digests: texts(3), bytes: int(4) })

const sandboxId = new Message({ id: text(1) })
const containerId = new Message({ id: text(1) })
const url = new Message({ url: text(1) })
const labelled = (number: number) => new Message({ filter: one(1, new Message({ labels: map(number) })) })
const runtime = method('runtime.v1.RuntimeService')
const images = method('runtime.v1.ImageService')
const image = new Message({ image: one(1, ImageSpec) })

export const CRI = {
  version: runtime('Version', Empty, new Message({ name: text(2), version: text(3) })),
  status: runtime(
    'Status',
    new Message({ verbose: flag(1) }),
    new Message({
      status: one(
        1,
        new Message({
          conditions: many(1, new Message({ type: text(1), status: flag(2), reason: text(3), message: text(4) })),
        }),
      ),
      info: map(2),
    }),
  ),
  runSandbox: runtime('RunPodSandbox', new Message({ config: one(1, SandboxConfig), handler: text(2) }), sandboxId),
  stopSandbox: runtime('StopPodSandbox', sandboxId, Empty),
  removeSandbox: runtime('RemovePodSandbox', sandboxId, Empty),
  listSandboxes: runtime('ListPodSandbox', labelled(3), new Message({ items: many(1, Sandbox) })),
  sandboxStatus: runtime('PodSandboxStatus', sandboxId, new Message({ status: one(1, SandboxStatus) })),
  createContainer: runtime(
    'CreateContainer',
    new Message({ sandboxId: text(1), config: one(2, ContainerConfig), sandboxConfig: one(3, SandboxConfig) }),
    containerId,
  ),
  startContainer: runtime('StartContainer', containerId, Empty),
  stopContainer: runtime('StopContainer', new Message({ id: text(1), timeoutS: int(2) }), Empty),
  removeContainer: runtime('RemoveContainer', containerId, Empty),
  listContainers: runtime('ListContainers', labelled(4), new Message({ containers: many(1, Container) })),
  containerStatus: runtime('ContainerStatus', containerId, new Message({ status: one(1, ContainerStatus) })),
  updateResources: runtime(
    'UpdateContainerResources',
    new Message({ id: text(1), linux: one(2, LinuxResources) }),
    Empty,
  ),
  reopenLog: runtime('ReopenContainerLog', containerId, Empty),
  exec: runtime(
    'Exec',
    new Message({ id: text(1), command: texts(2), tty: flag(3), stdin: flag(4), stdout: flag(5), stderr: flag(6) }),
    url,
  ),
  /** Without a stream: what a command costs the engine by itself. */
  execSync: runtime(
    'ExecSync',
    new Message({ id: text(1), command: texts(2), timeoutS: int(3) }),
    new Message({ stdout: bytes(1), stderr: bytes(2), exitCode: int(3) }),
  ),
  attach: runtime(
    'Attach',
    new Message({ id: text(1), stdin: flag(2), tty: flag(3), stdout: flag(4), stderr: flag(5) }),
    url,
  ),
  portForward: runtime('PortForward', new Message({ id: text(1), ports: ints(2) }), url),
  listStats: runtime('ListContainerStats', labelled(3), new Message({ stats: many(1, ContainerStats) })),
  listImages: images('ListImages', Empty, new Message({ images: many(1, Image) })),
  imageStatus: images('ImageStatus', image, new Message({ image: one(1, Image) })),
  pullImage: images(
    'PullImage',
    new Message({
      image: one(1, ImageSpec),
      auth: one(2, new Message({ username: text(1), password: text(2), serverAddress: text(4) })),
    }),
    new Message({ ref: text(1) }),
  ),
  removeImage: images('RemoveImage', image, Empty),
} as const

const Descriptor = new Message({ mediaType: text(1), digest: text(2), size: int(3) })
const StoredImage = new Message({ name: text(1), labels: map(2), target: one(3, Descriptor) })
const content = method('containerd.services.content.v1.Content')
const events = method('containerd.services.events.v1.Events')
const imageRecords = method('containerd.services.images.v1.Images')
const leases = method('containerd.services.leases.v1.Leases')
const tasks = method('containerd.services.tasks.v1.Tasks')
const named = new Message({ id: text(1) })

export const WRITE = { write: 1, commit: 2 } as const

/** What an event about a task says; of a command beside the program, `id` is that of the command. */
export const TaskEvent = new Message({ containerId: text(1), id: text(2) })

/** What containerd can do beyond that interface: words of its own API (containerd/api/services). */
export const CONTAINERD = {
  subscribe: events(
    'Subscribe',
    new Message({ filters: texts(1) }),
    new Message({ topic: text(3), event: one(4, new Message({ value: bytes(2) })) }),
  ),
  pause: tasks('Pause', named, Empty),
  resume: tasks('Resume', named, Empty),
  createLease: leases('Create', new Message({ id: text(1), labels: map(3) }), Empty),
  deleteLease: leases('Delete', new Message({ id: text(1), sync: flag(2) }), Empty),
  createImage: imageRecords('Create', new Message({ image: one(1, StoredImage) }), Empty),
  updateImage: imageRecords('Update', new Message({ image: one(1, StoredImage) }), Empty),
  write: content(
    'Write',
    new Message({
      action: int(1),
      ref: text(2),
      total: int(3),
      expected: text(4),
      offset: int(5),
      data: bytes(6),
      labels: map(7),
    }),
    new Message({ action: int(1), offset: int(4), digest: text(6) }),
  ),
} as const
