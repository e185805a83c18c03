import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import type { KubeClient } from '../kube/client.ts'
import { NODES, objectPath, PODS } from '../kube/paths.ts'
import type { Cluster, NodeView } from './cluster.ts'
import { evictions, type MayMoveFrom, orphans, taintsFor } from './lifecycle.ts'
import type { PodView } from './pod-view.ts'

interface NodeLifecycleOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly cluster: Cluster
  readonly mayMoveFrom: MayMoveFrom
  readonly record: (note: EventNote) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

/** A node that is missing for less may only be late. */
const ORPHANED_FOR_MS = 40_000

/** Taints nodes by their conditions and ends the time of pods there: for the embedded API, where nobody else does. */
export class NodeLifecycle {
  readonly #options: NodeLifecycleOptions
  readonly #busy = new Set<string>()
  readonly #orphanedMs = new Map<string, number>()

  constructor(options: NodeLifecycleOptions) {
    this.#options = options
  }

  lookOver(): void {
    const { cluster, clock, mayMoveFrom, record } = this.#options
    const nowMs = clock.now()
    for (const { node } of cluster.places.values()) {
      const taints = taintsFor(node, nowMs)
      if (taints !== undefined) this.#once(`node ${node.name}`, () => this.#taint(node, nowMs))
    }
    for (const { pod, why, force } of evictions(cluster, mayMoveFrom, nowMs)) {
      this.#once(`pod ${pod.key}`, async () => {
        await this.#delete(pod, force)
        const subject = { apiVersion: 'v1', kind: 'Pod', namespace: pod.namespace, name: pod.name, uid: pod.uid }
        record({ subject, type: 'Normal', reason: 'TaintManagerEviction', message: `Deleting pod: ${why}` })
      })
    }
    const lost = orphans(cluster)
    const uids = new Set(lost.map(({ uid }) => uid))
    for (const uid of this.#orphanedMs.keys()) if (!uids.has(uid)) this.#orphanedMs.delete(uid)
    for (const pod of lost) {
      const sinceMs = this.#orphanedMs.get(pod.uid) ?? nowMs
      this.#orphanedMs.set(pod.uid, sinceMs)
      if (nowMs - sinceMs >= ORPHANED_FOR_MS) this.#once(`pod ${pod.key}`, () => this.#delete(pod, true))
    }
  }

  /** One write at a time for each thing. */
  #once(what: string, work: () => Promise<unknown>): void {
    if (this.#busy.has(what)) return
    this.#busy.add(what)
    work()
      .catch((thrown: unknown) => {
        const error = toSluiceError(thrown)
        const moot = ['SLUICE_KUBE_NOT_FOUND', 'SLUICE_KUBE_CONFLICT'].includes(error.code)
        if (!moot && !this.#options.signal.aborted) this.#options.onTrouble(what, error)
      })
      .finally(() => this.#busy.delete(what))
  }

  /** Taints of others stay: the node is read, and written only if nobody wrote it in between. */
  async #taint({ name, ready, unschedulable }: NodeView, nowMs: number): Promise<void> {
    const { client, signal } = this.#options
    const path = objectPath(NODES, name)
    const live = await client.get<RawNode>(path, { signal })
    const held = live.spec?.taints ?? []
    const taints = taintsFor({ ...BLANK, name, ready, unschedulable, taints: held }, nowMs)
    if (taints === undefined) return
    const { resourceVersion } = live.metadata
    await client.patch(path, 'merge', { metadata: { resourceVersion }, spec: { taints } }, { signal })
  }

  async #delete({ name, namespace, uid }: PodView, force: boolean): Promise<void> {
    const body = { preconditions: { uid }, ...(force ? { gracePeriodSeconds: 0 } : {}) }
    await this.#options.client.delete(objectPath(PODS, name, namespace), { signal: this.#options.signal, body })
  }
}

interface RawNode {
  readonly metadata: { readonly resourceVersion: string }
  readonly spec?: { readonly taints?: NodeView['taints'] }
}

const BLANK: Omit<NodeView, 'name' | 'ready' | 'unschedulable' | 'taints'> = {
  labels: {},
  annotations: {},
  architecture: '',
  allocatable: {},
  images: new Set(),
}
