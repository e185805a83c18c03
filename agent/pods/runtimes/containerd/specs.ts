import { SluiceError } from '../../../../api/errors.ts'
import type { ContainerSpec, Resources, SandboxSpec } from '../runtime.ts'
import { type ContainerConfig, NAMESPACE, PROTOCOLS, type SandboxConfig, SECCOMP } from './cri.ts'
import type { Given, Message } from './wire.ts'

type GivenOf<M> = M extends Message<infer F> ? Given<F> : never
type SandboxWords = GivenOf<typeof SandboxConfig>
type ContainerWords = GivenOf<typeof ContainerConfig>

/** Whose pods they are: a machine may have a kubelet, or another agent, on the same containerd. */
export const LABEL_OWNER = 'sluice.dev/owner'
const LABEL_NAME = 'io.kubernetes.pod.name'
const LABEL_NAMESPACE = 'io.kubernetes.pod.namespace'
const LABEL_UID = 'io.kubernetes.pod.uid'
const LABEL_CONTAINER = 'io.kubernetes.container.name'
const OURS: ReadonlySet<string> = new Set([LABEL_OWNER, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID, LABEL_CONTAINER])
/** The sandbox in our words: whoever makes a container in it later, after a restart, has to repeat how it was made. */
const ANNOTATION_SPEC = 'sluice.dev/sandbox'

/** What the kernel shows of itself and a pod has no business with: the kubelet's own lists. */
const MASKED_PATHS = [
  ...['/proc/asound', '/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list'],
  ...['/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/sys/firmware', '/sys/devices/virtual/powercap'],
]
const READ_ONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
const CPU_PERIOD_US = 100_000
const MIN_QUOTA_US = 1000

export interface Surroundings {
  readonly owner: string
  /** Path of the pod's control group; a slice where systemd keeps them. */
  readonly cgroupParent: string
}

export function sandboxConfig(spec: SandboxSpec, { owner, cgroupParent }: Surroundings): SandboxWords {
  const { podUid, namespace, name, attempt } = spec
  const { annotations, labels, ...rest } = spec
  return {
    metadata: { uid: podUid, namespace, name, attempt },
    // A name without a name space of its own would be the machine's.
    hostname: spec.hostNetwork ? '' : spec.hostname,
    logDirectory: spec.logDirectory,
    portMappings: spec.portMappings.map(({ protocol, containerPort, hostPort, hostIp }) => ({
      protocol: PROTOCOLS[protocol],
      containerPort,
      hostPort,
      hostIp,
    })),
    labels: {
      ...labels,
      ...{ [LABEL_OWNER]: owner, [LABEL_NAME]: name, [LABEL_NAMESPACE]: namespace, [LABEL_UID]: podUid },
    },
    annotations: { ...annotations, [ANNOTATION_SPEC]: JSON.stringify({ ...rest, labels, annotations: {} }) },
    linux: {
      cgroupParent,
      security: {
        namespaces: namespacesOf(spec),
        privileged: spec.privileged,
        seccomp: { type: spec.privileged ? SECCOMP.unconfined : SECCOMP.runtimeDefault },
      },
    },
  }
}

const namespacesOf = ({ hostNetwork, hostPid, hostIpc }: SandboxSpec) => ({
  network: hostNetwork ? NAMESPACE.node : NAMESPACE.pod,
  pid: hostPid ? NAMESPACE.node : NAMESPACE.container,
  ipc: hostIpc ? NAMESPACE.node : NAMESPACE.pod,
})

/** How a sandbox was made; undefined when it was not made by an agent like this one. */
export function specOf(annotations: Readonly<Record<string, string>>): SandboxSpec | undefined {
  const text = annotations[ANNOTATION_SPEC]
  if (text === undefined) return undefined
  const { [ANNOTATION_SPEC]: _, ...own } = annotations
  try {
    return { ...(JSON.parse(text) as SandboxSpec), annotations: own }
  } catch {
    return undefined
  }
}

/** Labels as they were given. */
export const theirLabels = (labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => !OURS.has(name)))

export function containerConfig(spec: ContainerSpec, sandbox: SandboxSpec, owner: string): ContainerWords {
  const { name, attempt, image, privileged, unconfinedSeccomp } = spec
  if (privileged && !sandbox.privileged) {
    throw new SluiceError('SLUICE_POD_UNSUPPORTED', `Container ${name} is privileged and its sandbox is not`, {
      hint: 'Delete the pod; it is made anew as it is now.',
    })
  }
  return {
    metadata: { name, attempt },
    image: { image: image.id },
    command: spec.command,
    args: spec.args,
    workingDirectory: spec.workingDirectory,
    env: spec.env.map(([key, value]) => ({ key, value })),
    mounts: spec.mounts.map(({ hostPath, containerPath, readOnly }) => ({
      hostPath,
      containerPath,
      readonly: readOnly,
    })),
    devices: spec.devices,
    labels: {
      ...spec.labels,
      ...{ [LABEL_OWNER]: owner, [LABEL_UID]: sandbox.podUid, [LABEL_CONTAINER]: name },
      ...{ [LABEL_NAME]: sandbox.name, [LABEL_NAMESPACE]: sandbox.namespace },
    },
    logPath: spec.logPath,
    ...{ stdin: spec.stdin, stdinOnce: spec.stdinOnce, tty: spec.tty },
    linux: {
      resources: { ...linuxResources(spec.resources), oomScoreAdj: spec.oomScoreAdj },
      security: {
        capabilities: { add: spec.addCapabilities, drop: spec.dropCapabilities },
        privileged,
        namespaces: {
          ...namespacesOf(sandbox),
          ...(spec.targetContainerId === undefined ? {} : { pid: NAMESPACE.target, targetId: spec.targetContainerId }),
        },
        ...(spec.user === undefined ? {} : { runAsUser: { value: spec.user } }),
        // The interface takes a group only together with a user.
        ...(spec.group === undefined
          ? {}
          : { runAsUser: { value: spec.user ?? 0 }, runAsGroup: { value: spec.group } }),
        readonlyRoot: spec.readOnlyRoot,
        supplementalGroups: spec.supplementalGroups,
        noNewPrivileges: spec.noNewPrivileges,
        maskedPaths: privileged ? [] : MASKED_PATHS,
        readonlyPaths: privileged ? [] : READ_ONLY_PATHS,
        seccomp: { type: privileged || unconfinedSeccomp ? SECCOMP.unconfined : SECCOMP.runtimeDefault },
      },
    },
  }
}

export function linuxResources({ cpuLimitMilli, cpuRequestMilli, memoryLimitBytes }: Resources) {
  return {
    ...(cpuLimitMilli === undefined
      ? {}
      : {
          cpuPeriodUs: CPU_PERIOD_US,
          cpuQuotaUs: Math.max(MIN_QUOTA_US, Math.round((cpuLimitMilli * CPU_PERIOD_US) / 1000)),
        }),
    ...(cpuRequestMilli === undefined ? {} : { cpuShares: Math.max(2, Math.round((cpuRequestMilli * 1024) / 1000)) }),
    ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
  }
}
