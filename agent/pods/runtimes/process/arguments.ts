import type { ImageConfig } from '../../images/manifest.ts'
import type { ContainerSpec, Mount } from '../runtime.ts'

/** Where the parts of a container are on this machine. */
export interface Box {
  /** The image's tree of files. */
  readonly rootPath: string
  /** Its own writable folder, seen as `/tmp`. */
  readonly tmpPath: string
  readonly user: number
  readonly group: number
  /** Already with mount points as seen from inside, without links; outer ones first. */
  readonly mounts: readonly Mount[]
}

/** Folders of every image that something is mounted on. */
export const FIXED_FOLDERS = ['/proc', '/dev', '/tmp', '/run', '/var/tmp'] as const
export const FIXED_FILES = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'] as const

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'] as const

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Options of bubblewrap for the inside of a container: what it sees and who it is. They are handed over in a file and
 * not as arguments, since any user of the machine may read the arguments of a process.
 */
export function boxArguments(spec: ContainerSpec, config: ImageConfig, box: Box): string[] {
  return [
    ...['--uid', String(box.user), '--gid', String(box.group)],
    ...['--ro-bind', box.rootPath, '/'],
    ...['--proc', '/proc'],
    ...['--tmpfs', '/dev'],
    ...DEVICES.flatMap((name) => ['--dev-bind', `/dev/${name}`, `/dev/${name}`]),
    ...spec.devices.flatMap(({ hostPath, containerPath }) => ['--dev-bind', hostPath, containerPath]),
    ...['--symlink', '/proc/self/fd', '/dev/fd'],
    ...['--symlink', '/proc/self/fd/0', '/dev/stdin'],
    ...['--symlink', '/proc/self/fd/1', '/dev/stdout'],
    ...['--symlink', '/proc/self/fd/2', '/dev/stderr'],
    ...['--dir', '/dev/shm', '--dir', '/dev/mqueue'],
    ...['--size', String(SHARED_MEMORY_BYTES), '--tmpfs', '/dev/shm'],
    ...['--size', String(SHARED_MEMORY_BYTES), '--tmpfs', '/run'],
    ...['--bind', box.tmpPath, '/tmp', '--bind', box.tmpPath, '/var/tmp'],
    ...box.mounts.flatMap(({ hostPath, containerPath, readOnly }) => [
      readOnly ? '--ro-bind' : '--bind',
      hostPath,
      containerPath,
    ]),
    ...['--remount-ro', '/dev'],
    ...['--cap-drop', 'ALL'],
    ...['--chdir', spec.workingDirectory ?? (config.workingDirectory || '/')],
  ]
}

const SHARED_MEMORY_BYTES = 64 * 1024 * 1024

/** What follows those: the environment, and the filter of system calls where there is one. */
export function restArguments(
  variables: Iterable<readonly [name: string, value: string]>,
  seccompFd: number | undefined,
): string[] {
  return [
    ...(seccompFd === undefined ? [] : ['--seccomp', String(seccompFd)]),
    '--clearenv',
    ...[...variables].flatMap(([name, value]) => ['--setenv', name, value]),
  ]
}

/** The pod's variables win over the image's. */
export function environment(
  spec: Pick<ContainerSpec, 'env'>,
  config: ImageConfig,
  hostname: string,
): ReadonlyMap<string, string> {
  const variables = new Map<string, string>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', hostname],
    ['HOME', '/'],
  ])
  for (const line of config.env) {
    const equals = line.indexOf('=')
    if (equals > 0) variables.set(line.slice(0, equals), line.slice(equals + 1))
  }
  for (const [name, value] of spec.env) variables.set(name, value)
  return variables
}

/** What runs: Kubernetes' `command` replaces the entry point and, with it, the image's arguments. */
export function commandOf(spec: Pick<ContainerSpec, 'command' | 'args'>, config: ImageConfig): string[] {
  if (spec.command.length > 0) return [...spec.command, ...spec.args]
  return [...config.entrypoint, ...(spec.args.length > 0 ? spec.args : config.command)]
}

/** Outer mount points before those inside of them, and each once: the last one given wins. */
export function mountOrder(mounts: readonly Mount[]): Mount[] {
  const byPath = new Map(mounts.map((mount) => [mount.containerPath, mount]))
  const depth = (path: string) => path.split('/').filter((part) => part !== '').length
  return [...byPath.values()].sort((a, b) => depth(a.containerPath) - depth(b.containerPath))
}

/** Numeric user and group of an image's `USER` and the pod's `runAsUser`; names are looked up in the image's own files. */
export function whoRuns(
  spec: Pick<ContainerSpec, 'user' | 'group'>,
  imageUser: string,
  fileOf: (path: string) => string,
): { user: number; group: number } | undefined {
  const [name = '', groupName = ''] = imageUser.split(':')
  const passwd = fileOf('/etc/passwd')
    .split('\n')
    .map((line) => line.split(':'))
  const entry = passwd.find((fields) => fields[0] === name)
  const imageId = name === '' ? 0 : /^\d+$/.test(name) ? Number(name) : Number(entry?.[2] ?? Number.NaN)
  const user = spec.user ?? imageId
  const groups = fileOf('/etc/group')
    .split('\n')
    .map((line) => line.split(':'))
  const named = groups.find((fields) => fields[0] === groupName)?.[2]
  const primary = passwd.find((fields) => fields[2] === String(user))?.[3]
  const imageGroup =
    groupName === '' ? Number(primary ?? 0) : /^\d+$/.test(groupName) ? Number(groupName) : Number(named)
  const group = spec.group ?? (spec.user === undefined ? imageGroup : Number(primary ?? 0))
  const good = (id: number) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 31
  return good(user) && good(group) ? { user, group } : undefined
}
