import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ContainerExit, ContainerView, SandboxSpec, SandboxState } from '../runtime.ts'
import { asList, asMap, numberAt, type PodmanApi, Refused, textAt, type Words } from './api.ts'
import { LABEL_OWNER, recordOf, specOf } from './specs.ts'

const KILLED = 137

interface Infra {
  readonly ips: readonly string[]
  readonly pid: number
}

/** What podman has of ours. What cannot have changed is asked once. */
export class States {
  readonly #api: PodmanApi
  readonly #owner: string
  /** Why containers could not be started: podman itself forgets it. */
  readonly notStarted = new Map<string, ContainerExit>()
  /** Containers that were told to end. */
  readonly stopped = new Set<string>()
  /** Control groups of pods. */
  readonly #groups = new Map<string, string>()
  #details = new Map<string, { readonly key: string; readonly view: ContainerView }>()
  #infras = new Map<string, { readonly key: string; readonly infra: Infra }>()

  constructor(api: PodmanApi, owner: string) {
    this.#api = api
    this.#owner = owner
  }

  async list(signal: AbortSignal): Promise<SandboxState[]> {
    const filters = JSON.stringify({ label: [`${LABEL_OWNER}=${this.#owner}`] })
    const [pods, containers] = await Promise.all([
      this.#api.call('GET', '/pods/json', { signal, query: { filters } }),
      this.#api.call('GET', '/containers/json', { signal, query: { all: true, filters } }),
    ])
    for (const pod of asList(pods)) this.#groups.set(textAt(pod, 'Id'), join(textAt(pod, 'Cgroup'), textAt(pod, 'Id')))
    const views = await Promise.all(
      asList(containers).map(async (one) => ({ pod: textAt(one, 'Pod'), view: await this.#view(asMap(one), signal) })),
    )
    const states = await Promise.all(
      asList(pods).map(async (pod): Promise<SandboxState | undefined> => {
        const id = textAt(pod, 'Id')
        const spec = specOf(asMap(pod)['Labels'])
        if (spec === undefined) return undefined
        const infra = await this.#infra(pod, signal)
        return {
          ...{ id, podUid: spec.podUid, namespace: spec.namespace, name: spec.name, attempt: spec.attempt },
          ready: infra !== undefined,
          createdMs: Date.parse(textAt(pod, 'Created')),
          ips: infra?.ips ?? [],
          labels: spec.labels,
          containers: views.flatMap(({ pod: of, view }) => (of === id && view !== undefined ? [view] : [])),
        }
      }),
    )
    const here = new Set(asList(containers).map((one) => textAt(one, 'Id')))
    for (const id of this.#details.keys()) if (!here.has(id)) this.#details.delete(id)
    const sandboxes = new Set(asList(pods).map((one) => textAt(one, 'Id')))
    for (const kept of [this.#infras, this.#groups]) {
      for (const id of kept.keys()) if (!sandboxes.has(id)) kept.delete(id)
    }
    return states.filter((state) => state !== undefined)
  }

  async spec(podId: string, signal: AbortSignal): Promise<SandboxSpec | undefined> {
    const pod = await orGone(this.#api.call('GET', `/pods/${podId}/json`, { signal }))
    return specOf(asMap(pod)['Labels'])
  }

  /** The first process of what keeps a sandbox, while that runs. */
  async infraPid(podId: string, signal: AbortSignal): Promise<number | undefined> {
    const pod = await orGone(this.#api.call('GET', `/pods/${podId}/json`, { signal }))
    const inspected = await this.#inspect(textAt(pod, 'InfraContainerID'), signal)
    const pid = numberAt(inspected, 'State', 'Pid')
    return pid > 0 ? pid : undefined
  }

  async running(id: string, signal: AbortSignal): Promise<boolean> {
    const status = textAt(await this.#inspect(id, signal), 'State', 'Status')
    return status === 'running' || status === 'paused'
  }

  async #inspect(id: string, signal: AbortSignal): Promise<unknown> {
    return id === '' ? undefined : await orGone(this.#api.call('GET', `/containers/${id}/json`, { signal }))
  }

  async #infra(pod: unknown, signal: AbortSignal): Promise<Infra | undefined> {
    const id = textAt(pod, 'InfraId')
    const listed = asList(asMap(pod)['Containers']).find((one) => textAt(one, 'Id') === id)
    if (!['running', 'paused'].includes(textAt(listed, 'Status'))) return undefined
    const key = id
    const podId = textAt(pod, 'Id')
    const held = this.#infras.get(podId)
    if (held?.key === key) return held.infra
    const inspected = await this.#inspect(id, signal)
    const networks = Object.values(asMap(asMap(asMap(inspected)['NetworkSettings'])['Networks']))
    const ips = networks.map((one) => textAt(one, 'IPAddress')).filter((ip) => ip !== '')
    const infra = { ips, pid: numberAt(inspected, 'State', 'Pid') }
    this.#infras.set(podId, { key, infra })
    return infra
  }

  async #view(listed: Words, signal: AbortSignal): Promise<ContainerView | undefined> {
    const id = textAt(listed, 'Id')
    const record = recordOf(listed['Labels'])
    if (record === undefined) return undefined
    const failed = this.notStarted.get(id)
    const key = [listed['State'], listed['StartedAt'], listed['ExitedAt'], failed?.finishedMs].join(' ')
    const held = this.#details.get(id)
    if (held?.key === key) return held.view
    const inspected = await this.#inspect(id, signal)
    if (inspected === undefined) return undefined
    const state = asMap(asMap(inspected)['State'])
    const startedMs = Date.parse(textAt(state, 'StartedAt'))
    const exit = failed ?? this.#exit(id, state, numberAt(inspected, 'HostConfig', 'Memory'), textAt(listed, 'Pod'))
    const status = textAt(state, 'Status')
    const view: ContainerView = {
      ...{ id, name: record.name, attempt: record.attempt, labels: record.labels, logPath: record.logFile },
      state: exit !== undefined ? 'exited' : ['running', 'paused', 'stopping'].includes(status) ? 'running' : 'created',
      imageId: `sha256:${textAt(inspected, 'Image').replace(/^sha256:/, '')}`,
      imageName: textAt(inspected, 'ImageName'),
      createdMs: Date.parse(textAt(inspected, 'Created')),
      ...(startedMs > 0 ? { startedMs } : {}),
      ...(exit === undefined ? {} : { exit }),
    }
    if (textAt(listed, 'State') === status) this.#details.set(id, { key, view })
    return view
  }

  /**
   * Whether memory was used up. With version 1 of control groups conmon loses the kernel's word for it against the end of
   * the program: the container's own group has counted it, and when that is gone, the pod's knows how much was used.
   */
  #wasShort(id: string, podId: string, limitBytes: number): boolean {
    const pod = join('/sys/fs/cgroup/memory', this.#groups.get(podId) ?? '')
    const own = readIf(join(pod, `libpod-${id}`, 'memory.oom_control'))
    if (own !== undefined) return Number(/^oom_kill (\d+)$/m.exec(own)?.[1] ?? 0) > 0
    return Number(readIf(join(pod, 'memory.max_usage_in_bytes')) ?? 0) >= limitBytes
  }

  #exit(id: string, state: Words, memoryLimitBytes: number, podId: string): ContainerExit | undefined {
    if (!['exited', 'stopped', 'dead'].includes(textAt(state, 'Status'))) return undefined
    const code = numberAt(state, 'ExitCode')
    const killed = code === KILLED && memoryLimitBytes > 0 && !this.stopped.has(id)
    const short = state['OOMKilled'] === true || (killed && this.#wasShort(id, podId, memoryLimitBytes))
    const message = textAt(state, 'Error')
    return {
      code,
      reason: short ? 'OOMKilled' : code === 0 ? 'Completed' : 'Error',
      ...(message === '' ? {} : { message: message.slice(0, 1024) }),
      // Its beginning is noted a moment after it has begun.
      finishedMs: Math.max(Date.parse(textAt(state, 'FinishedAt')), Date.parse(textAt(state, 'StartedAt'))),
    }
  }
}

function readIf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

async function orGone(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return undefined
    throw error
  }
}
