import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { LinkObjectKind } from '../../api/link/messages.ts'
import type { PodStatusItem } from '../../api/link/pods.ts'
import type { StaticPod } from '../../api/link/static-pods.ts'
import { type ObjectKey, splitKey } from '../../api/resources.ts'
import type { EventNote, EventSubject } from '../gateways/event-recorder.ts'
import type { GatewayObjects } from '../gateways/gateway-objects.ts'
import type { KubeClient } from '../kube/client.ts'
import { CONFIG_MAPS, collectionPath, objectPath, PODS, SECRETS } from '../kube/paths.ts'
import { watchKey, watchResource } from '../kube/watch.ts'
import { Coalescer } from '../twins/coalescer.ts'
import { MirrorPods } from './mirror-pods.ts'
import { type ApiPayload, type ApiPod, PodObjects, type PodObjectsOptions } from './pod-objects.ts'
import { PodStatuses } from './pod-statuses.ts'
import { type PayloadId, type PayloadKind, payloadId, splitPayloadId } from './references.ts'

export interface CloudPodsOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly gateways: GatewayObjects
  /** Resolves when the gateways are known: pods of nodes that are none are not kept. */
  readonly gatewaysKnown: Promise<void>
  readonly hostIp: (gateway: string) => string | undefined
  readonly onChange: PodObjectsOptions['onChange']
  /** So many statuses of pods that are not a gateway's own were refused. */
  readonly count: (gateway: string, refused: number) => void
  readonly audit: (gateway: string, code: string, message: string) => void
  readonly record: (note: EventNote) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

export interface CloudPods {
  readonly objects: PodObjects
  /** Resolves when every pod there is, and what those on gateways name, was read. */
  readonly synced: Promise<void>
  /** What a gateway says of its pods, and which of them it has from files, when that has changed. */
  told(gateway: string, items: readonly PodStatusItem[], statics?: readonly StaticPod[]): void
  /** A gateway took an object, or refused it. */
  acknowledged(gateway: string, kind: LinkObjectKind, key: ObjectKey, refusal: { message: string } | undefined): void
  /** A pod of this gateway, for Events about it; undefined for any other. */
  subject(gateway: string, key: ObjectKey): EventSubject | undefined
  drained(signal: AbortSignal): Promise<void>
}

const RESOURCES = { ConfigMap: CONFIG_MAPS, Secret: SECRETS } as const

/** Pods of gateways, following the objects of a Kubernetes API until the signal aborts. */
export function startPods(options: CloudPodsOptions): CloudPods {
  const { client, clock, signal, gateways, onTrouble, record } = options
  const payloads = new Payloads(options, (kind, key, object) => objects.payload(kind, key, object))
  const objects: PodObjects = new PodObjects({
    isGateway: (node) => gateways.spec(node) !== undefined,
    onChange: options.onChange,
    onNeed: (id) => payloads.need(id),
    onNeedless: (id) => payloads.forget(id),
  })
  const pod = (key: ObjectKey) => objects.pod(key)
  const mirrors = new MirrorPods({
    ...{ client, clock, signal, pod, onTrouble },
    ready: () => following,
    podsOf: (gateway) => objects.podsOf(gateway),
    onRefused: (gateway, message) => options.audit(gateway, 'SLUICE_LINK_NOT_OWNED', message),
  })
  const statuses = new PodStatuses({
    ...options,
    pod,
    expects: (gateway, key, uid) => mirrors.expects(gateway, key, uid),
    onRefused: (gateway, strangers, count) => {
      options.count(gateway, count)
      if (strangers.length === 0) return
      const message = `pods that are not this gateway's were told of: ${strangers.slice(0, 3).join(', ')}`
      options.audit(gateway, 'SLUICE_LINK_NOT_OWNED', message)
    },
  })
  const seen = (given: ApiPod) => {
    objects.upsert(given)
    const key = watchKey(given.metadata)
    const bound = objects.pod(key)
    if (bound === undefined) statuses.podRemoved(key)
    else statuses.podChanged(bound)
    if (bound?.mirrorOf !== undefined) mirrors.changed(bound.gateway)
  }
  const removed = (key: ObjectKey) => {
    objects.remove(key)
    statuses.podRemoved(key)
    const owner = mirrors.ownerOf(key)
    if (owner !== undefined) mirrors.changed(owner)
  }
  const following = options.gatewaysKnown.then(async () => {
    const watch = watchResource<ApiPod, true>(
      client,
      collectionPath(PODS),
      {
        upsert: seen,
        remove: removed,
        trouble: (error) => onTrouble('watch of pods', error),
      },
      { clock, signal, keep: () => true, query: { fieldSelector: 'spec.nodeName!=' } },
    )
    gateways.listen((gateway) => {
      for (const key of [...objects.waitingFor(gateway)]) {
        const { namespace, name } = splitKey(key)
        client.get<ApiPod>(objectPath(PODS, name, namespace), { signal }).then(seen, (thrown: unknown) => {
          if (!signal.aborted) onTrouble(`pod ${key}`, toSluiceError(thrown))
        })
      }
    })
    await watch.synced
    await payloads.read
  })
  const subject = (gateway: string, key: ObjectKey): EventSubject | undefined => {
    const bound = objects.pod(key)
    if (bound?.gateway !== gateway) return undefined
    return { apiVersion: 'v1', kind: 'Pod', ...splitKey(key), uid: bound.uid }
  }
  return {
    objects,
    synced: following,
    told(gateway, items, statics) {
      if (statics !== undefined) mirrors.told(gateway, statics)
      statuses.told(gateway, items)
    },
    acknowledged(gateway, kind, key, refusal) {
      const about = kind === 'Pod' && refusal !== undefined ? subject(gateway, key) : undefined
      if (about === undefined) return
      record({ subject: about, type: 'Warning', reason: 'ObjectRefused', message: refusal?.message ?? '' })
    },
    subject,
    drained: (until) => statuses.drained(until),
  }
}

type GivePayload = (kind: PayloadKind, key: ObjectKey, object: ApiPayload | undefined) => void

/**
 * ConfigMaps and Secrets that pods name. The first that is named of a kind opens a watch of all of that kind, which
 * remembers names only; what they hold is read when a pod names them.
 */
class Payloads {
  readonly #options: CloudPodsOptions
  readonly #give: GivePayload
  readonly #wanted = new Set<PayloadId>()
  readonly #watched = new Set<PayloadKind>()
  /** Times that the watch told of one that is wanted: what was asked for before is older than that. */
  readonly #news = new Map<PayloadId, number>()
  readonly #reader: Coalescer

  constructor(options: CloudPodsOptions, give: GivePayload) {
    this.#options = options
    this.#give = give
    const { clock, signal } = options
    this.#reader = new Coalescer({
      ...{ clock, signal, intervalMs: 0, parallel: 8 },
      write: (id) => this.#read(id as PayloadId),
      onRefused: (id, error) => {
        options.onTrouble(id, error)
        // As if it were not there: the pod says what it lacks, and others are not held up.
        give(...splitPayloadId(id as PayloadId), undefined)
      },
    })
  }

  /** Resolves when what is named by now was read. */
  get read(): Promise<void> {
    return this.#reader.drained(this.#options.signal)
  }

  need(id: PayloadId): void {
    this.#wanted.add(id)
    this.#watch(splitPayloadId(id)[0])
    this.#reader.markDirty(id)
  }

  forget(id: PayloadId): void {
    this.#wanted.delete(id)
    this.#news.delete(id)
    this.#reader.forget(id)
  }

  #watch(kind: PayloadKind): void {
    if (this.#watched.has(kind)) return
    this.#watched.add(kind)
    const { client, clock, signal, onTrouble } = this.#options
    const told = (key: ObjectKey, object: ApiPayload | undefined) => {
      const id = payloadId(kind, key)
      if (!this.#wanted.has(id)) return
      this.#news.set(id, (this.#news.get(id) ?? 0) + 1)
      this.#give(kind, key, object)
    }
    watchResource<ApiPayload, true>(
      client,
      collectionPath(RESOURCES[kind]),
      {
        upsert: (object) => told(watchKey(object.metadata), object),
        remove: (key) => told(key, undefined),
        trouble: (error) => onTrouble(`watch of ${RESOURCES[kind].plural}`, error),
      },
      { clock, signal, keep: () => true },
    )
  }

  async #read(id: PayloadId): Promise<void> {
    const [kind, key] = splitPayloadId(id)
    const { namespace, name } = splitKey(key)
    const before = this.#news.get(id)
    let object: ApiPayload | undefined
    try {
      object = await this.#options.client.get<ApiPayload>(objectPath(RESOURCES[kind], name, namespace))
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
    }
    if (this.#wanted.has(id) && this.#news.get(id) === before) this.#give(kind, key, object)
  }
}
