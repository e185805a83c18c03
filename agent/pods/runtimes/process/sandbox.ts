import type { ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../../../api/errors.ts'
import type { SandboxSpec, SandboxState } from '../runtime.ts'
import type { Container, Surroundings } from './container.ts'
import { claimed, FD, launch, started, type Way, wayIn } from './launch.ts'
import { endProcess, isAlive, markOf, parentOf, signalProcess } from './life-signs.ts'
import type { SandboxRecord, Starting } from './records.ts'

export interface Pipes {
  readonly stdin: string
  readonly stdout: string
  readonly stderr: string
}

/** Of the processes of one user, where the kernel cannot count those of a group. */
const MAX_PROCESSES = 2048

/**
 * What the containers of a pod share: network, host name, messages and a user outside, kept by one sleeping process, and
 * the pipes of their output, which that process holds open at both ends.
 */
export class Sandbox {
  readonly record: SandboxRecord
  readonly containers = new Map<string, Container>()
  readonly #around: Surroundings

  constructor(around: Surroundings, record: SandboxRecord) {
    this.#around = around
    this.record = record
  }

  get group(): string {
    return `pod${this.record.spec.podUid}`
  }

  get ready(): boolean {
    return isAlive(this.record.holder)
  }

  get way(): Way {
    const { hostUser, holder, spec } = this.record
    return {
      namespaces: ['-u', ...(spec.hostNetwork ? [] : ['-n']), ...(spec.hostIpc ? [] : ['-i'])],
      hostUser,
      holderPid: holder.pid,
      joinFiles: [],
      oomScoreAdj: 0,
      maxProcesses: this.#around.groups.has('pids') ? undefined : MAX_PROCESSES,
    }
  }

  pipesOf(container: string): Pipes {
    return pipesIn(this.#around.records.folderOf(this.record.id), container)
  }

  /**
   * Pipes of a container that nobody knew of when the sandbox was made. They are held open by the container alone: what it
   * says last is lost when it ends while no agent reads.
   */
  async ensurePipes(container: string, signal: AbortSignal): Promise<void> {
    if (this.record.spec.containerNames.includes(container)) return
    const missing = (Object.values(this.pipesOf(container)) as string[]).filter((path) => !existsSync(path))
    if (missing.length > 0) await this.#around.pipes.take(missing, signal)
  }

  state(): SandboxState {
    const { id, spec, createdMs } = this.record
    return {
      id,
      podUid: spec.podUid,
      namespace: spec.namespace,
      name: spec.name,
      attempt: spec.attempt,
      ready: this.ready,
      createdMs,
      ips: [],
      labels: spec.labels,
      containers: [...this.containers.values()].map((container) => container.view()),
    }
  }

  end(): void {
    signalProcess(this.record.holder, 'SIGKILL')
  }
}

const CLAIM = 'claim'
const CLEARING_MS = 5000

/** Ends what is left of a sandbox that was never finished, also by an agent that was killed meanwhile. */
export async function clearUnfinished(
  around: Surroundings,
  { id, group }: Starting,
  known: Iterable<Sandbox>,
): Promise<void> {
  claimed(join(around.records.folderOf(id), CLAIM))
  const others = [...known]
  const theirs = new Set(others.flatMap(({ record: { holder } }) => [holder.pid, parentOf(holder.pid)]))
  for (const pid of around.groups.processes(group)) if (!theirs.has(pid)) endProcess(pid)
  around.records.removeSandbox(id)
  if (!others.some((sandbox) => sandbox.group === group)) {
    await around.podGroups.remove(group, AbortSignal.timeout(CLEARING_MS))
  }
}

/** Makes pipes and the holder; what it throws leaves nothing running. */
export async function openSandbox(
  around: Surroundings,
  id: string,
  spec: SandboxSpec,
  hostUser: number | undefined,
  known: () => Iterable<Sandbox>,
  signal: AbortSignal,
): Promise<Sandbox> {
  const { tools, records, groups, podGroups, clock, pipes: stock } = around
  groups.expectChange()
  const folder = records.folderOf(id)
  const group = `pod${spec.podUid}`
  mkdirSync(folder, { mode: 0o711 })
  records.saveStarting({ id, group })
  podGroups.make(group, spec.resources)
  const pipes = spec.containerNames.flatMap((name) => Object.values(pipesIn(folder, name)) as string[])
  await stock.take(pipes, signal)
  const files = [join(folder, 'status'), ...pipes].map((path, at) => openSync(path, at === 0 ? 'a' : 'r+'))
  const [status, ...held] = files
  try {
    const child = launch({
      command: [
        ...wayIn(tools, {
          hostUser,
          holderPid: undefined,
          claim: join(folder, CLAIM),
          joinFiles: groups.joinFiles(group),
          oomScoreAdj: HOLDER_OOM,
          maxProcesses: undefined,
        }),
        ...[tools.bwrap, '--unshare-user', '--uid', '0', '--gid', '0', '--unshare-uts', '--hostname', spec.hostname],
        ...(spec.hostNetwork ? [] : ['--unshare-net']),
        ...(spec.hostIpc ? [] : ['--unshare-ipc']),
        ...['--new-session', '--cap-drop', 'ALL', '--ro-bind', '/', '/'],
        ...['--json-status-fd', String(FD.status), '--info-fd', String(FD.info), '--'],
        ...[tools.sh, '-c', READY, 'sh', tools.sleep, 'infinity'],
      ],
      stdio: ['ignore', 'pipe', 'ignore', status!, 'pipe', ...held],
    })
    child.unref()
    child.once('exit', () => around.onChange())
    const ready = firstWord(child, signal)
    // Where it has no number it is not ready either, and that is told first.
    ready.catch(() => undefined)
    const pid = await started(child, signal)
    const holder = markOf(pid) ?? { pid: 0, startTicks: 0, boot: '' }
    const record: SandboxRecord = { id, spec, createdMs: clock.now(), hostUser, holder }
    // While it makes its namespaces: an agent that takes over now finds it alive and soon ready, or ended.
    records.saveSandbox(record)
    await ready
    // What is wanted is a container in it.
    groups.expectChange()
    return new Sandbox(around, record)
  } catch (error) {
    await clearUnfinished(around, { id, group }, known())
    throw error
  } finally {
    for (const fd of files) closeSync(fd)
  }
}

/** Its number is known before its namespaces are ready to be entered; this comes after that. */
const READY = 'echo ready; exec "$@"'

function firstWord(child: ChildProcess, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => {
      child.stdout?.destroy()
      resolve()
    })
    child.stdout?.once('end', () => reject(new SluiceError('SLUICE_POD_START', 'A sandbox ended before it was set up')))
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** It is the last that the kernel should end when memory is short. */
const HOLDER_OOM = 0

const pipesIn = (folder: string, container: string): Pipes => ({
  stdin: join(folder, `${container}.stdin`),
  stdout: join(folder, `${container}.stdout`),
  stderr: join(folder, `${container}.stderr`),
})
