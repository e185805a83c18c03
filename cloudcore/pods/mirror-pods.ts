import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { LinkPod } from '../../api/link/pods.ts'
import { CONFIG_HASH, CONFIG_MIRROR, CONFIG_SEEN, CONFIG_SOURCE, type StaticPod } from '../../api/link/static-pods.ts'
import { type ObjectKey, type ObjectMeta, splitKey } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import { isPassing } from '../kube/errors.ts'
import { collectionPath, NODES, objectPath, PODS } from '../kube/paths.ts'
import { Coalescer } from '../twins/coalescer.ts'
import type { BoundPod } from './pod-objects.ts'
import { referencesOf } from './references.ts'

export interface MirrorPodsOptions {
  readonly client: Pick<KubeClient, 'create' | 'delete' | 'get'>
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Resolves when it is known what pods there are: none must be made twice, nor be taken for somebody else's. */
  readonly ready: () => Promise<void>
  readonly pod: (key: ObjectKey) => BoundPod | undefined
  readonly podsOf: (gateway: string) => Iterable<BoundPod>
  /** A gateway asked for a pod that it may not have. */
  readonly onRefused: (gateway: string, message: string) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

/**
 * Static pods of gateways in the API: for each a mirror pod, made anew when somebody deletes it, replaced when the file
 * changes, taken away with the file. A gateway has no rights of its own there; here is what a node with NodeRestriction may
 * do: make and delete pods that mirror its own, bound to itself, which name nothing of the API.
 */
export class MirrorPods {
  readonly #options: MirrorPodsOptions
  readonly #told = new Map<string, ReadonlyMap<ObjectKey, LinkPod>>()
  readonly #writer: Coalescer
  /** Gateways that are looked at again after a while. */
  readonly #again = new Set<string>()

  constructor(options: MirrorPodsOptions) {
    this.#options = options
    const { clock, signal, onTrouble } = options
    this.#writer = new Coalescer({
      ...{ clock, signal, intervalMs: WRITE_EVERY_MS, parallel: 4 },
      write: (gateway) => this.#write(gateway),
      onRefused: (gateway, error) => onTrouble(`mirror pods of ${gateway}`, error),
    })
  }

  /** These are all static pods of a gateway. */
  told(gateway: string, statics: readonly StaticPod[]): void {
    const taken = new Map<ObjectKey, LinkPod>()
    for (const { key, object } of statics) {
      const why = refusal(gateway, key, object)
      if (why === undefined) taken.set(key, object)
      else this.#options.onRefused(gateway, `static pod ${key}: ${why}`)
    }
    this.#told.set(gateway, taken)
    this.#options.ready().then(
      () => this.#writer.hurry(gateway),
      () => {},
    )
  }

  /** Whether a gateway runs this from a file, and a mirror of it is there or on its way. */
  expects(gateway: string, key: ObjectKey, uid: string): boolean {
    return this.#told.get(gateway)?.get(key)?.uid === uid
  }

  /** Of the gateway whose static pod has this key. */
  ownerOf(key: ObjectKey): string | undefined {
    for (const [gateway, pods] of this.#told) if (pods.has(key)) return gateway
    return undefined
  }

  /** A mirror came, went, or is to go. */
  changed(gateway: string): void {
    if (this.#told.has(gateway)) this.#writer.hurry(gateway)
  }

  async #write(gateway: string): Promise<boolean> {
    const { pod, podsOf } = this.#options
    const wanted = this.#told.get(gateway) ?? new Map<ObjectKey, LinkPod>()
    let wrote = false
    for (const one of [...podsOf(gateway)]) {
      if (one.mirrorOf === undefined) continue
      if (one.mirrorOf === wanted.get(one.key)?.uid && !one.leaving) continue
      await this.#remove(one)
      wrote = true
    }
    for (const [key, object] of wanted) {
      const held = pod(key)
      if (held?.mirrorOf === object.uid && held.gateway === gateway && !held.leaving) continue
      await this.#create(gateway, key, object)
      wrote = true
    }
    return wrote
  }

  async #remove({ key, uid }: BoundPod): Promise<void> {
    const { namespace, name } = splitKey(key)
    const body = { gracePeriodSeconds: 0, preconditions: { uid } }
    try {
      await this.#options.client.delete(objectPath(PODS, name, namespace), { body })
    } catch (thrown) {
      const { code } = toSluiceError(thrown)
      // Another of the name is there by now, which the watch tells.
      if (code !== 'SLUICE_KUBE_NOT_FOUND' && code !== 'SLUICE_KUBE_CONFLICT') throw thrown
    }
  }

  #laterAgain(gateway: string): void {
    const { clock, signal } = this.#options
    if (this.#again.has(gateway) || signal.aborted) return
    this.#again.add(gateway)
    const wake = () => {
      this.#again.delete(gateway)
      this.changed(gateway)
    }
    clock.after(AGAIN_MS, wake, true)
  }

  async #create(gateway: string, key: ObjectKey, { uid, metadata, spec }: LinkPod): Promise<void> {
    const { client, onTrouble, pod } = this.#options
    const { namespace, name } = splitKey(key)
    const node = await client.get<{ metadata: ObjectMeta }>(objectPath(NODES, gateway))
    const { labels, annotations } = metadata
    const own = { apiVersion: 'v1', kind: 'Node', name: gateway, uid: node.metadata.uid, controller: true }
    const body = {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: {
        ...{ name, namespace, ownerReferences: [own] },
        ...(labels === undefined ? {} : { labels }),
        annotations: {
          ...annotations,
          ...{ [CONFIG_SOURCE]: 'file', [CONFIG_HASH]: uid, [CONFIG_MIRROR]: uid },
          [CONFIG_SEEN]: new Date(this.#options.clock.now()).toISOString(),
        },
      },
      // As a kubelet does: what its node runs by itself is not to be evicted from there.
      spec: { ...spec, nodeName: gateway, tolerations: [{ operator: 'Exists', effect: 'NoExecute' }] },
    }
    try {
      await client.create(collectionPath(PODS, namespace), body, { query: { fieldManager: 'sluice-cloudcore' } })
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code === 'SLUICE_KUBE_EXISTS') {
        const held = pod(key)
        // Not yet seen, or just being replaced: the watch tells, and it is looked at again.
        if (held === undefined || held.mirrorOf !== undefined) return
      }
      // Of one only: the others are shown.
      if (isPassing(error)) throw error
      onTrouble(`mirror pod ${key}`, error)
      this.#laterAgain(gateway)
    }
  }
}

const WRITE_EVERY_MS = 1000

/** When what was refused is tried again: a namespace may be there by then. */
const AGAIN_MS = 60_000

/** Why a gateway may not have such a mirror (NodeRestriction's rules for pods that a node makes), or undefined. */
function refusal(gateway: string, key: ObjectKey, { spec }: LinkPod): string | undefined {
  const { namespace, name } = splitKey(key)
  if (!name.endsWith(`-${gateway}`)) return `its name does not end with -${gateway}`
  if (spec.nodeName !== undefined && spec.nodeName !== gateway) return `it is for ${spec.nodeName}`
  const named = referencesOf(namespace, spec)
  if (named.length > 0) return `it names ${named[0]}`
  if (spec.serviceAccountName !== undefined) return 'it names a service account'
  if (spec.ephemeralContainers !== undefined) return 'it has ephemeral containers'
  if ((spec.volumes ?? []).some((volume) => volume.persistentVolumeClaim !== undefined)) return 'it names a claim'
  return undefined
}
