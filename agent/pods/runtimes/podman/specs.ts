import { join } from 'node:path'
import type { ContainerSpec, Resources, SandboxSpec } from '../runtime.ts'
import { asMap, type Words } from './api.ts'

export const LABEL_OWNER = 'sluice.dev/owner'
/** The sandbox in our words. */
const LABEL_SPEC = 'sluice.dev/sandbox'
/** The container's name, attempt and log, and the labels it was given. */
const LABEL_CONTAINER = 'sluice.dev/container'
const CPU_PERIOD_US = 100_000
const MIN_QUOTA_US = 1000
const DEFAULT_PIDS = 1024

export interface ContainerRecord {
  readonly name: string
  readonly attempt: number
  readonly logFile: string
  readonly labels: Readonly<Record<string, string>>
}

export function podWords(
  spec: SandboxSpec,
  owner: string,
  infraImage: string,
  cgroupParent: string | undefined,
): Words {
  const { annotations: _, ...kept } = spec
  return {
    name: `sluice-${spec.podUid}-${spec.attempt}`,
    labels: { [LABEL_OWNER]: owner, [LABEL_SPEC]: JSON.stringify({ ...kept, annotations: {} }) },
    ...(spec.hostNetwork ? {} : { hostname: spec.hostname }),
    netns: { nsmode: spec.hostNetwork ? 'host' : 'bridge' },
    portmappings: spec.portMappings.map(({ protocol, containerPort, hostPort, hostIp }) => ({
      protocol: protocol.toLowerCase(),
      container_port: containerPort,
      host_port: hostPort,
      ...(hostIp === undefined ? {} : { host_ip: hostIp }),
    })),
    infra_image: infraImage,
    infra_command: ['/pause'],
    shared_namespaces: [...(spec.hostNetwork ? [] : ['net', 'uts']), ...(spec.hostIpc ? [] : ['ipc'])],
    ...(cgroupParent === undefined ? {} : { cgroup_parent: cgroupParent }),
  }
}

export function specOf(labels: unknown): SandboxSpec | undefined {
  const text = asMap(labels)[LABEL_SPEC]
  return typeof text === 'string' ? (read(text) as SandboxSpec | undefined) : undefined
}

export function recordOf(labels: unknown): ContainerRecord | undefined {
  const text = asMap(labels)[LABEL_CONTAINER]
  return typeof text === 'string' ? (read(text) as ContainerRecord | undefined) : undefined
}

function read(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function containerWords(spec: ContainerSpec, podId: string, sandbox: SandboxSpec, owner: string): Words {
  const { name, attempt, labels, user, group } = spec
  const logFile = join(sandbox.logDirectory, spec.logPath)
  const record: ContainerRecord = { name, attempt, logFile, labels }
  return {
    name: `sluice-${sandbox.podUid}-${sandbox.attempt}-${name}-${attempt}-${Math.random().toString(36).slice(2, 8)}`,
    pod: podId,
    image: spec.image.id,
    ...(spec.command.length > 0 ? { entrypoint: spec.command } : {}),
    ...(spec.args.length > 0 ? { command: spec.args } : {}),
    env: Object.fromEntries(spec.env),
    ...(spec.workingDirectory === undefined ? {} : { work_dir: spec.workingDirectory, create_working_dir: true }),
    ...(user === undefined && group === undefined
      ? {}
      : { user: group === undefined ? String(user) : `${user ?? 0}:${group}` }),
    groups: spec.supplementalGroups.map(String),
    mounts: spec.mounts.map(({ hostPath, containerPath, readOnly }) => ({
      type: 'bind',
      source: hostPath,
      destination: containerPath,
      options: ['rbind', readOnly ? 'ro' : 'rw'],
    })),
    devices: spec.devices.map(({ hostPath, containerPath, permissions }) => ({
      path: `${hostPath}:${containerPath}:${permissions}`,
    })),
    resource_limits: resourceWords({ pidsLimit: DEFAULT_PIDS, ...spec.resources }),
    read_only_filesystem: spec.readOnlyRoot,
    privileged: spec.privileged,
    no_new_privileges: spec.noNewPrivileges,
    cap_add: spec.addCapabilities,
    cap_drop: spec.dropCapabilities,
    ...(spec.unconfinedSeccomp ? { seccomp_profile_path: 'unconfined' } : {}),
    ...(sandbox.hostPid ? { pidns: { nsmode: 'host' } } : {}),
    ...(spec.targetContainerId === undefined ? {} : { pidns: { nsmode: 'container', value: spec.targetContainerId } }),
    ...(sandbox.hostIpc ? { ipcns: { nsmode: 'host' } } : {}),
    terminal: spec.tty,
    stdin: spec.stdin,
    oom_score_adj: spec.oomScoreAdj,
    restart_policy: 'no',
    systemd: 'false',
    log_configuration: { driver: 'k8s-file', path: logFile },
    labels: { [LABEL_OWNER]: owner, [LABEL_CONTAINER]: JSON.stringify(record) },
  }
}

/** In the words of the OCI runtime specification. */
export function resourceWords({ cpuLimitMilli, cpuRequestMilli, memoryLimitBytes, pidsLimit }: Resources): Words {
  const quota =
    cpuLimitMilli === undefined
      ? {}
      : {
          period: CPU_PERIOD_US,
          quota: Math.max(MIN_QUOTA_US, Math.round((cpuLimitMilli * CPU_PERIOD_US) / 1000)),
        }
  const shares =
    cpuRequestMilli === undefined ? {} : { shares: Math.max(2, Math.round((cpuRequestMilli * 1024) / 1000)) }
  return {
    ...(cpuLimitMilli === undefined && cpuRequestMilli === undefined ? {} : { cpu: { ...quota, ...shares } }),
    ...(memoryLimitBytes === undefined ? {} : { memory: { limit: memoryLimitBytes, swap: memoryLimitBytes } }),
    ...(pidsLimit === undefined ? {} : { pids: { limit: pidsLimit } }),
  }
}
