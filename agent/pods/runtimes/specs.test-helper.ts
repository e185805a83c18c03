import { existsSync, readFileSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import type { ContainerSpec, ImageState, SandboxSpec } from './runtime.ts'

/** Looks at a log at once and whenever something is written, until it has what is looked for. */
export async function logSays(path: string, wanted: RegExp, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = () => {
    if (existsSync(path) && wanted.test(readFileSync(path, 'utf8'))) resolve()
  }
  const watcher = watch(dirname(path), look)
  signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  look()
  await promise.finally(() => watcher.close())
}

let count = 0

/** A sandbox with nothing special about it. */
export function plainSandbox(logDirectory: string, over: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    podUid: `${process.pid}-${++count}-${Math.random().toString(16).slice(2)}`,
    namespace: 'plant',
    name: 'p',
    attempt: 0,
    hostname: 'box',
    hostNetwork: false,
    hostPid: false,
    hostIpc: false,
    privileged: false,
    resources: {},
    portMappings: [],
    logDirectory,
    containerNames: ['c', 'd'],
    labels: { a: 'b' },
    annotations: {},
    ...over,
  }
}

/** A container `c` that runs what its image says. */
export function plainContainer(image: ImageState, over: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name: 'c',
    attempt: 0,
    image,
    command: [],
    args: [],
    workingDirectory: undefined,
    env: [],
    mounts: [],
    devices: [],
    resources: {},
    user: undefined,
    group: undefined,
    supplementalGroups: [],
    readOnlyRoot: false,
    privileged: false,
    noNewPrivileges: true,
    addCapabilities: [],
    dropCapabilities: [],
    unconfinedSeccomp: false,
    logPath: `c/${++count}.log`,
    tty: false,
    stdin: false,
    stdinOnce: false,
    oomScoreAdj: 0,
    labels: {},
    ...over,
  }
}
