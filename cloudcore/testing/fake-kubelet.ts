import { systemClock } from '../../api/clock.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, objectPath, PODS } from '../kube/paths.ts'
import { type Watch, watchResource } from '../kube/watch.ts'

interface Pod {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly uid: string
    readonly deletionTimestamp?: string
  }
  readonly spec: {
    readonly affinity?: unknown

    readonly nodeName?: string
    readonly containers: readonly { readonly name: string; readonly image: string }[]
  }
  readonly status?: { readonly phase?: string }
}

export interface FakeKubeletOptions {
  /** How a pod ends up: `Running` unless this says otherwise; undefined leaves it as it is. */
  readonly outcome?: (pod: Pod) => 'Running' | 'Succeeded' | 'Failed' | undefined
  /** Binds pods without a node, as a scheduler would: to the node this names. */
  readonly bindTo?: (pod: Pod) => string
  /** Nodes it acts for; default all. */
  readonly nodes?: () => ReadonlySet<string>
}

/** Does with pods what a kubelet does, as far as the API can see it: starts them at once and ends them when asked. */
export class FakeKubelet implements AsyncDisposable {
  /** Uids that were started, by node: each pod may be here once. */
  readonly started: { readonly uid: string; readonly name: string; readonly node: string }[] = []
  readonly #client: KubeClient
  readonly #options: FakeKubeletOptions
  readonly #stop = new AbortController()
  readonly #watch: Watch<string>

  constructor(client: KubeClient, options: FakeKubeletOptions = {}) {
    this.#client = client
    this.#options = options
    this.#watch = watchResource<Pod, string>(
      client,
      collectionPath(PODS),
      { upsert: (pod) => void this.#act(pod).catch(() => {}), remove: () => {} },
      { clock: systemClock, signal: this.#stop.signal, keep: (pod) => pod.metadata.uid },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#watch.done
  }

  async #act(pod: Pod): Promise<void> {
    const { name, namespace, uid, deletionTimestamp } = pod.metadata
    const path = objectPath(PODS, name, namespace)
    const { nodeName } = pod.spec
    if (nodeName === undefined) {
      if (this.#options.bindTo === undefined || deletionTimestamp !== undefined) return
      const target = { kind: 'Node', name: this.#options.bindTo(pod) }
      await this.#client.create(`${path}/binding`, { apiVersion: 'v1', kind: 'Binding', metadata: { name }, target })
      return
    }
    if (this.#options.nodes?.().has(nodeName) === false) return
    if (deletionTimestamp !== undefined) {
      await this.#client.delete(path, { body: { gracePeriodSeconds: 0, preconditions: { uid } } })
      return
    }
    if (pod.status?.phase !== 'Pending' || this.started.some((each) => each.uid === uid)) return
    const phase = this.#options.outcome === undefined ? 'Running' : this.#options.outcome(pod)
    if (phase === undefined) return
    this.started.push({ uid, name, node: nodeName })
    const now = `${new Date().toISOString().slice(0, 19)}Z`
    const ready = phase === 'Running'
    const state = ready
      ? { running: { startedAt: now } }
      : { terminated: { exitCode: phase === 'Failed' ? 1 : 0, startedAt: now, finishedAt: now } }
    const condition = (type: string) => ({ type, status: ready ? 'True' : 'False', lastTransitionTime: now })
    await this.#client.patch(objectPath(PODS, name, namespace, 'status'), 'strategic', {
      status: {
        phase,
        startTime: now,
        conditions: [condition('Ready'), condition('ContainersReady'), { ...condition('Initialized'), status: 'True' }],
        containerStatuses: pod.spec.containers.map((each) => ({
          ...{ name: each.name, image: each.image, imageID: '', ready, started: ready, restartCount: 0, state },
        })),
      },
    })
  }
}
