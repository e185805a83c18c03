import type { PodStatusBoard } from '../../agent/pods/status-board.ts'
import type { Clock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { OFFLOAD_ANNOTATION, PLACED_ANNOTATION } from '../../api/intents/intents.ts'
import type { PodLinkObject } from '../../api/link/messages.ts'
import type { LinkPod, PodStatus } from '../../api/link/pods.ts'
import { objectKey, splitKey } from '../../api/resources.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import { collectionPath, NAMESPACES, objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import type { MapperStorage } from '../../mappers/sdk/mapper.ts'
import { FROM_ABOVE, PARENT_UID } from './aggregate.ts'

/** A pod of this supernode's API, as far as it matters here. */
export interface ChildPod {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly uid: string
    readonly deletionTimestamp?: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly status?: Partial<PodStatus>
}

export interface MirrorOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly board: PodStatusBoard
  readonly storage: MapperStorage
  /** What the supernode above wants here. */
  readonly wanted: () => readonly PodLinkObject[]
  /** Pods from above that are here, by namespace/name. */
  readonly held: ReadonlyMap<string, ChildPod>
  readonly onTrouble: (what: string, message: string) => void
}

/** A pod that is made anew elsewhere is missing for a moment; one that is missing for so long was taken away. */
const MISSING_MS = 60_000

/** Brings what is wanted from above into this supernode's API, pod by pod, and tells what became of it. */
export class Mirror {
  readonly #options: MirrorOptions
  readonly #missingMs = new Map<string, number>()
  #busy = false
  #again = false

  constructor(options: MirrorOptions) {
    this.#options = options
  }

  /** Something has changed, above or here. */
  look(): void {
    if (this.#busy) {
      this.#again = true
      return
    }
    this.#busy = true
    void this.#all().finally(() => {
      this.#busy = false
      if (this.#again && !this.#options.signal.aborted) {
        this.#again = false
        this.look()
      }
    })
  }

  async #all(): Promise<void> {
    const { wanted, held, signal, onTrouble } = this.#options
    const uids = new Set<string>()
    for (const one of wanted()) {
      if (signal.aborted) return
      try {
        if (one.kind === 'Pod') {
          uids.add(one.object.uid)
          await this.#pod(one.key, one.object)
        } else await this.#payload(one)
      } catch (thrown) {
        if (!signal.aborted) onTrouble(`${one.kind} ${one.key}`, toSluiceError(thrown).message)
      }
    }
    for (const pod of held.values()) {
      if (uids.has(parentOf(pod))) continue
      await this.#remove(pod).catch((thrown: unknown) => {
        if (!signal.aborted) onTrouble(`pod ${pod.metadata.name}`, toSluiceError(thrown).message)
      })
    }
    this.#forgetOthers(uids)
  }

  async #pod(key: string, object: LinkPod): Promise<void> {
    const { board, held, storage, clock } = this.#options
    const { uid, metadata } = object
    const found = held.get(key)
    const own = found !== undefined && parentOf(found) === uid ? found : undefined
    if (metadata.deletionTimestamp !== undefined) {
      if (own !== undefined) await this.#remove(own, metadata.deletionGracePeriodSeconds)
      const status = own?.status ?? board.get(key, uid)?.status
      board.set({ key, uid, gone: own === undefined, status: statusOf(status) })
      return
    }
    if (own !== undefined) {
      this.#missingMs.delete(uid)
      board.set({ key, uid, gone: false, status: statusOf(own.status) })
      return
    }
    if (storage.get(uid) === undefined) {
      // Whoever had this name before has to be gone first; the watch says when.
      if (found === undefined) await this.#create(key, object)
      return
    }
    const sinceMs = this.#missingMs.get(uid) ?? clock.monotonic()
    this.#missingMs.set(uid, sinceMs)
    if (clock.monotonic() - sinceMs < MISSING_MS) return
    const reason = 'DeletedBelow'
    const message = `${reason}: somebody deleted the pod at the supernode that ran it`
    board.set({
      key,
      uid,
      gone: true,
      status: { ...statusOf(board.get(key, uid)?.status), phase: 'Failed', reason, message },
    })
  }

  async #create(key: string, { uid, metadata, spec }: LinkPod): Promise<void> {
    const { client, signal, storage, board } = this.#options
    const { namespace, name } = splitKey(key)
    const { [OFFLOAD_ANNOTATION]: _to, [PLACED_ANNOTATION]: _why, ...annotations } = metadata.annotations ?? {}
    await this.#needNamespace(namespace)
    const body = {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: {
        name,
        labels: { ...metadata.labels, [FROM_ABOVE]: 'true' },
        annotations: { ...annotations, [PARENT_UID]: uid },
      },
      spec: specBelow(spec),
    }
    try {
      await client.create(collectionPath(PODS, namespace), body, { signal })
    } catch (thrown) {
      const { code, message } = toSluiceError(thrown)
      if (code === 'SLUICE_KUBE_EXISTS') {
        const reason = 'NameTaken'
        const words = `${reason}: a pod of this name is at the supernode already, and not from above`
        board.set({ key, uid, gone: false, status: { ...statusOf(undefined), reason, message: words } })
        return
      }
      if (!/^SLUICE_KUBE_(INVALID|FORBIDDEN|BAD)/.test(code)) throw thrown
      const words = `RefusedBelow: ${message}`.slice(0, 1024)
      board.set({
        key,
        uid,
        gone: false,
        status: { ...statusOf(undefined), phase: 'Failed', reason: 'RefusedBelow', message: words },
      })
    }
    // What was made once is not made again: whoever wants another one makes another one above.
    storage.put({ [uid]: 'made' }, 'now')
  }

  async #needNamespace(name: string): Promise<void> {
    const { client, signal } = this.#options
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
    await client.create(collectionPath(NAMESPACES), body, { signal }).catch((thrown: unknown) => {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_EXISTS') throw thrown
    })
  }

  /** ConfigMaps and Secrets that pods from above name; what somebody made here under such a name stays as it is. */
  async #payload({ kind, key, object }: PodLinkObject & { kind: 'ConfigMap' | 'Secret' }): Promise<void> {
    const { client, signal } = this.#options
    const { namespace, name } = splitKey(key)
    await this.#needNamespace(namespace)
    const { uid: _uid, generation: _generation, ...content } = object
    const path = `/api/v1/namespaces/${namespace}/${kind === 'Secret' ? 'secrets' : 'configmaps'}/${name}`
    const metadata = { name, namespace, labels: { [FROM_ABOVE]: 'true' } }
    const query = { fieldManager: 'sluice-uplink' }
    await client.patch(path, 'apply', { apiVersion: 'v1', kind, metadata, ...content }, { query, signal })
  }

  async #remove({ metadata }: ChildPod, graceSeconds?: number): Promise<void> {
    if (metadata.deletionTimestamp !== undefined) return
    const { client, signal } = this.#options
    const preconditions = { uid: metadata.uid }
    const body = graceSeconds === undefined ? { preconditions } : { preconditions, gracePeriodSeconds: graceSeconds }
    await client.delete(objectPath(PODS, metadata.name, metadata.namespace), { signal, body })
  }

  #forgetOthers(uids: ReadonlySet<string>): void {
    const { board, storage } = this.#options
    for (const { key, uid } of board.list()) if (!uids.has(uid)) board.delete(key, uid)
    const gone = storage.keys('').filter((uid) => !uids.has(uid))
    if (gone.length > 0) storage.put(Object.fromEntries(gone.map((uid) => [uid, undefined])), 'soon')
    for (const uid of this.#missingMs.keys()) if (!uids.has(uid)) this.#missingMs.delete(uid)
  }
}

export const parentOf = ({ metadata }: ChildPod): string => metadata.annotations?.[PARENT_UID] ?? ''

export const keyOf = ({ metadata }: ChildPod): string => objectKey(metadata.namespace, metadata.name)

/** Which gateway it is to be is decided anew beneath, by everything that does not speak of the node above. */
function specBelow(spec: LinkPod['spec']): object {
  const { nodeName: _node, serviceAccountName: _account, ...kept } = spec
  const {
    nodeSelector,
    serviceAccount: _old,
    priority: _priority,
    priorityClassName: _class,
    preemptionPolicy: _policy,
    ...rest
  } = kept as typeof kept & Readonly<Record<string, unknown>>
  const wanted = Object.entries(typeof nodeSelector === 'object' && nodeSelector !== null ? nodeSelector : {})
  const selector = wanted.filter(([label]) => label !== 'kubernetes.io/hostname' && label !== 'sluice.dev/gateway')
  return { ...rest, ...(selector.length === 0 ? {} : { nodeSelector: Object.fromEntries(selector) }) }
}

/** The parts of a status that a gateway tells of a pod. */
function statusOf(status: Partial<PodStatus> | undefined): PodStatus {
  const { phase, reason, message, startTime, podIP, qosClass, containerStatuses, initContainerStatuses } = status ?? {}
  return {
    phase: phase ?? 'Pending',
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(podIP === undefined ? {} : { podIP }),
    qosClass: qosClass ?? 'BestEffort',
    conditions: (status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled'),
    containerStatuses: containerStatuses ?? [],
    ...(initContainerStatuses === undefined ? {} : { initContainerStatuses }),
  }
}
