import type { ContainerView, SandboxSpec, SandboxState } from '../runtime.ts'
import { type Channel, isGone } from './channel.ts'
import { CONTAINER, CRI, SANDBOX_READY } from './cri.ts'
import { LABEL_OWNER, specOf, theirLabels } from './specs.ts'
import type { Starts } from './starts.ts'

const NS_PER_MS = 1e6

/** What a list does not say of a container; it does not change while the state does not. */
type Detail = Pick<ContainerView, 'state' | 'startedMs' | 'exit' | 'logPath' | 'imageName'>

/**
 * What containerd has of ours, in the words of the agent. A list says too little and a question for each container is
 * dear, so what was asked once is remembered for as long as it cannot have changed: a gateway at rest asks twice, however
 * many pods it has.
 */
export class States {
  readonly #channel: Channel
  readonly #owner: string
  readonly #starts: Starts
  #details = new Map<string, { readonly state: number; readonly detail: Detail }>()
  /** How each sandbox was made: whoever makes a container in it has to repeat that. */
  readonly #specs = new Map<string, SandboxSpec>()
  #addresses = new Map<string, readonly string[]>()

  constructor(channel: Channel, owner: string, starts: Starts) {
    this.#channel = channel
    this.#owner = owner
    this.#starts = starts
  }

  async list(signal: AbortSignal): Promise<SandboxState[]> {
    const filter = { filter: { labels: { [LABEL_OWNER]: this.#owner } } }
    // Of one that is begun meanwhile the list does not know yet.
    const { doubts } = this.#starts
    const [{ items }, { containers }] = await Promise.all([
      this.#channel.call(CRI.listSandboxes, filter, { signal }),
      this.#channel.call(CRI.listContainers, filter, { signal }),
    ])
    const views = await Promise.all(
      containers.map(async (one) => {
        const detail = await this.#detail(one.id, one.state, signal)
        if (detail === undefined) return undefined
        const { name = '', attempt = 0 } = one.metadata ?? {}
        const view: ContainerView = {
          ...{ id: one.id, name, attempt, labels: theirLabels(one.labels), imageId: one.imageRef, ...detail },
          createdMs: Math.floor(one.createdAtNs / NS_PER_MS),
        }
        return { sandboxId: one.sandboxId, view }
      }),
    )
    const present = views.filter((view) => view !== undefined)
    const sandboxes = await Promise.all(
      items.map(async (one): Promise<SandboxState> => {
        const { uid = '', namespace = '', name = '', attempt = 0 } = one.metadata ?? {}
        const ready = one.state === SANDBOX_READY
        const spec = this.#specs.get(one.id) ?? specOf(one.annotations)
        if (spec !== undefined) this.#specs.set(one.id, spec)
        return {
          ...{ id: one.id, podUid: uid, namespace, name, attempt, ready, labels: theirLabels(one.labels) },
          createdMs: Math.floor(one.createdAtNs / NS_PER_MS),
          ips: ready && spec?.hostNetwork !== true ? await this.addresses(one.id, signal) : [],
          containers: present.filter(({ sandboxId }) => sandboxId === one.id).map(({ view }) => view),
        }
      }),
    )
    const states = new Map(containers.map(({ id, state }) => [id, state]))
    for (const id of doubts) if (CONTAINER[states.get(id) ?? -1] !== 'created') this.#starts.forget(id)
    this.#forget(new Set(states.keys()), new Set(items.map(({ id }) => id)))
    return sandboxes
  }

  /** Undefined when it is gone, or was not made by an agent like this one. */
  async spec(sandboxId: string, signal: AbortSignal): Promise<SandboxSpec | undefined> {
    if (!this.#specs.has(sandboxId)) await this.list(signal)
    return this.#specs.get(sandboxId)
  }

  made(sandboxId: string, spec: SandboxSpec): void {
    this.#specs.set(sandboxId, spec)
  }

  async addresses(sandboxId: string, signal: AbortSignal): Promise<readonly string[]> {
    const held = this.#addresses.get(sandboxId)
    if (held !== undefined) return held
    const { status } = await orGone(this.#channel.call(CRI.sandboxStatus, { id: sandboxId }, { signal }), {
      status: undefined,
    })
    const { ip = '', more = [] } = status?.network ?? {}
    const all = [ip, ...more.map((each) => each.ip)].filter((each) => each !== '')
    if (all.length > 0) this.#addresses.set(sandboxId, all)
    return all
  }

  async #detail(id: string, listed: number, signal: AbortSignal): Promise<Detail | undefined> {
    const held = this.#details.get(id)
    const doubtful = this.#starts.inDoubt(id)
    if (held?.state === listed && !doubtful) return held.detail
    const cutAtMs = doubtful && CONTAINER[listed] === 'created' ? await this.#starts.cutAtMs(id, signal) : undefined
    const { status } = await orGone(this.#channel.call(CRI.containerStatus, { id }, { signal }), { status: undefined })
    // It was removed after it was listed.
    if (status === undefined) return undefined
    // As it is now, which may be later than the list.
    const state = CONTAINER[status.state] ?? 'unknown'
    const detail: Detail = {
      ...{ state, logPath: status.logPath, imageName: status.image?.image ?? '' },
      ...(status.startedAtNs > 0 ? { startedMs: Math.floor(status.startedAtNs / NS_PER_MS) } : {}),
      ...(status.finishedAtNs > 0
        ? {
            exit: {
              code: status.exitCode,
              reason: status.reason === '' ? (status.exitCode === 0 ? 'Completed' : 'Error') : status.reason,
              ...(status.message === '' ? {} : { message: status.message.slice(0, 1024) }),
              // The start is noted after the shim's answer: a short program has ended before.
              finishedMs: Math.floor(Math.max(status.finishedAtNs, status.startedAtNs) / NS_PER_MS),
            },
          }
        : {}),
    }
    if (state === 'created' && cutAtMs !== undefined) return { ...detail, ...cutShort(cutAtMs) }
    if (status.state === listed) this.#details.set(id, { state: listed, detail })
    return detail
  }

  #forget(containers: ReadonlySet<string>, sandboxes: ReadonlySet<string>): void {
    for (const id of this.#details.keys()) if (!containers.has(id)) this.#details.delete(id)
    for (const id of this.#addresses.keys()) if (!sandboxes.has(id)) this.#addresses.delete(id)
    for (const id of this.#specs.keys()) if (!sandboxes.has(id)) this.#specs.delete(id)
  }
}

/** Nobody knows whether it had begun; that it does not run any more is certain. */
const cutShort = (askedMs: number): Partial<Detail> => ({
  state: 'exited',
  exit: {
    ...{ code: 137, reason: 'ContainerStatusUnknown', finishedMs: askedMs },
    message: 'containerd was ended while it started this container, and has ended what there was of it',
  },
})

async function orGone<T, Otherwise>(call: Promise<T>, otherwise: Otherwise): Promise<T | Otherwise> {
  try {
    return await call
  } catch (error) {
    if (isGone(error)) return otherwise
    throw error
  }
}
