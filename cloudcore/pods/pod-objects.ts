import { createHash } from 'node:crypto'
import { type LinkObject, type LinkObjectKind, POD_KINDS } from '../../api/link/messages.ts'
import type { LinkConfigMap, LinkPod, LinkSecret, PodMeta, PodSpec, PodStatus } from '../../api/link/pods.ts'
import { CONFIG_MIRROR } from '../../api/link/static-pods.ts'
import { type ObjectKey, type ObjectMeta, objectKey } from '../../api/resources.ts'
import type { ObjectSource } from '../hub/inventory.ts'
import { type PayloadId, type PayloadKind, payloadId, referencesOf, splitPayloadId } from './references.ts'

/** A Pod of the API, as far as it matters here. */
export interface ApiPod {
  readonly metadata: ObjectMeta & PodMeta
  readonly spec: PodSpec
  readonly status?: Partial<PodStatus>
}

/** A ConfigMap or a Secret of the API. */
export interface ApiPayload {
  readonly metadata: ObjectMeta
  readonly type?: string
  readonly data?: Readonly<Record<string, string>>
  readonly binaryData?: Readonly<Record<string, string>>
}

/** A pod that is bound to a gateway. */
export interface BoundPod {
  readonly key: ObjectKey
  readonly uid: string
  readonly gateway: string
  /** It is to end. */
  readonly leaving: boolean
  /** Of a mirror: the uid under which its gateway runs it from a file. */
  readonly mirrorOf?: string
  /** Whoever bound it has said so in its status. */
  readonly scheduled: boolean
}

interface HeldPod extends BoundPod {
  readonly rev: string
  readonly object: LinkPod
  readonly needs: readonly PayloadId[]
}

interface HeldPayload {
  /** Pods that name it, by gateway. */
  readonly users: Map<string, Set<ObjectKey>>
  /** Undefined: there is none of this name, or nobody knows yet. */
  content: { readonly rev: string; readonly object: LinkConfigMap | LinkSecret } | undefined
  known: boolean
}

export interface PodObjectsOptions {
  readonly isGateway: (node: string) => boolean
  /** These objects of a gateway came, went or changed. */
  readonly onChange: (gateway: string, objects: readonly (readonly [LinkObjectKind, ObjectKey])[]) => void
  /** A ConfigMap or Secret is named for the first time: `payload` is to be called with what it holds. */
  readonly onNeed: (id: PayloadId) => void
  /** No pod names it any more. */
  readonly onNeedless: (id: PayloadId) => void
}

/**
 * Pods bound to gateways, and the ConfigMaps and Secrets that they name: each for the gateways that run such a pod and
 * for no other. A pod waits until it is known what its ConfigMaps and Secrets hold, or that they are not there.
 */
export class PodObjects implements ObjectSource {
  readonly kinds = POD_KINDS
  readonly #options: PodObjectsOptions
  readonly #pods = new Map<ObjectKey, HeldPod>()
  readonly #byGateway = new Map<string, Set<ObjectKey>>()
  readonly #payloads = new Map<PayloadId, HeldPayload>()
  /** Pods on nodes that are no gateway of ours, as far as anybody knows. */
  readonly #elsewhere = new Map<ObjectKey, string>()

  constructor(options: PodObjectsOptions) {
    this.#options = options
  }

  pod(key: ObjectKey): BoundPod | undefined {
    return this.#pods.get(key)
  }

  *podsOf(gateway: string): Generator<BoundPod> {
    for (const key of this.#byGateway.get(gateway) ?? []) yield this.#pods.get(key)!
  }

  /** Pods that were bound to a node before it was known as a gateway; to be given to `upsert` once more. */
  *waitingFor(gateway: string): Generator<ObjectKey> {
    for (const [key, node] of this.#elsewhere) if (node === gateway) yield key
  }

  upsert(pod: ApiPod): void {
    const { name, namespace = 'default', uid = '' } = pod.metadata
    const key = objectKey(namespace, name)
    const node = pod.spec.nodeName ?? ''
    if (node === '' || !this.#options.isGateway(node)) {
      this.remove(key)
      if (node !== '') this.#elsewhere.set(key, node)
      return
    }
    this.#elsewhere.delete(key)
    const object = linkPod(pod, uid)
    const before = this.#pods.get(key)
    const mirrorOf = pod.metadata.annotations?.[CONFIG_MIRROR]
    // What a mirror names is not read for anybody: its gateway has the pod already.
    const needs = mirrorOf === undefined ? referencesOf(namespace, pod.spec) : []
    const held: HeldPod = {
      ...{ key, uid, gateway: node, object, rev: revOf(object), needs },
      ...(mirrorOf === undefined ? {} : { mirrorOf }),
      leaving: pod.metadata.deletionTimestamp !== undefined,
      scheduled: (pod.status?.conditions ?? []).some(
        ({ type, status }) => type === 'PodScheduled' && status === 'True',
      ),
    }
    if (before !== undefined && before.gateway !== node) this.remove(key)
    this.#pods.set(key, held)
    setOf(this.#byGateway, node).add(key)
    for (const id of held.needs) this.#use(id, node, key)
    for (const id of before?.needs ?? []) if (!held.needs.includes(id)) this.#unuse(id, node, key)
    if (before?.rev === held.rev && before.gateway === node) return
    const named = new Set([...held.needs, ...(before?.needs ?? [])])
    this.#options.onChange(node, [...[...named].map(splitPayloadId), ['Pod', key]])
  }

  remove(key: ObjectKey): void {
    this.#elsewhere.delete(key)
    const held = this.#pods.get(key)
    if (held === undefined) return
    const { gateway, needs } = held
    this.#pods.delete(key)
    const others = this.#byGateway.get(gateway)
    others?.delete(key)
    if (others?.size === 0) this.#byGateway.delete(gateway)
    for (const id of needs) this.#unuse(id, gateway, key)
    this.#options.onChange(gateway, [['Pod', key], ...needs.map(splitPayloadId)])
  }

  /** What a ConfigMap or Secret holds now; undefined when there is none. Those that no pod names are not kept. */
  payload(kind: PayloadKind, key: ObjectKey, given: ApiPayload | undefined): void {
    const held = this.#payloads.get(payloadId(kind, key))
    if (held === undefined) return
    const object = given === undefined ? undefined : linkPayload(kind, given)
    const content = object === undefined ? undefined : { rev: revOf(object), object }
    const first = !held.known
    if (!first && held.content?.rev === content?.rev) return
    held.content = content
    held.known = true
    for (const [gateway, pods] of held.users) {
      const waited = first ? [...pods].map((pod) => ['Pod', pod] as const) : []
      this.#options.onChange(gateway, [[kind, key], ...waited])
    }
  }

  /** ConfigMaps and Secrets first: a pod finds there what it names. */
  *wantedBy(gateway: string): Generator<{ readonly kind: LinkObjectKind; readonly key: ObjectKey }> {
    const pods = this.#byGateway.get(gateway) ?? []
    const named = new Set([...pods].flatMap((key) => this.#pods.get(key)?.needs ?? []))
    for (const id of named) {
      const [kind, key] = splitPayloadId(id)
      if (this.#payloads.get(id)?.content !== undefined) yield { kind, key }
    }
    for (const key of pods) if (this.isWanted(gateway, 'Pod', key)) yield { kind: 'Pod', key }
  }

  isWanted(gateway: string, kind: LinkObjectKind, key: ObjectKey): boolean {
    return this.rev(gateway, kind, key) !== undefined
  }

  rev(gateway: string, kind: LinkObjectKind, key: ObjectKey): string | undefined {
    if (kind === 'Pod') return this.#ready(gateway, key)?.rev
    return isPayloadKind(kind) ? this.#content(gateway, kind, key)?.rev : undefined
  }

  linkObject(gateway: string, kind: LinkObjectKind, key: ObjectKey): LinkObject | undefined {
    if (kind === 'Pod') {
      const pod = this.#ready(gateway, key)
      return pod === undefined ? undefined : { kind, key, rev: pod.rev, object: pod.object }
    }
    const content = isPayloadKind(kind) ? this.#content(gateway, kind, key) : undefined
    return content === undefined || !isPayloadKind(kind) ? undefined : { kind, key, ...content }
  }

  #ready(gateway: string, key: ObjectKey): HeldPod | undefined {
    const held = this.#pods.get(key)
    if (held?.gateway !== gateway || held.mirrorOf !== undefined) return undefined
    return held.needs.every((id) => this.#payloads.get(id)?.known === true) ? held : undefined
  }

  #content(gateway: string, kind: PayloadKind, key: ObjectKey) {
    const held = this.#payloads.get(payloadId(kind, key))
    return held?.users.has(gateway) === true ? held.content : undefined
  }

  #use(id: PayloadId, gateway: string, pod: ObjectKey): void {
    let held = this.#payloads.get(id)
    if (held === undefined) {
      held = { users: new Map(), content: undefined, known: false }
      this.#payloads.set(id, held)
      this.#options.onNeed(id)
    }
    setOf(held.users, gateway).add(pod)
  }

  #unuse(id: PayloadId, gateway: string, pod: ObjectKey): void {
    const held = this.#payloads.get(id)
    const pods = held?.users.get(gateway)
    pods?.delete(pod)
    if (pods?.size === 0) held?.users.delete(gateway)
    if (held?.users.size !== 0) return
    this.#payloads.delete(id)
    this.#options.onNeedless(id)
  }
}

const isPayloadKind = (kind: LinkObjectKind): kind is PayloadKind => kind === 'ConfigMap' || kind === 'Secret'

function setOf<T>(map: Map<string, Set<T>>, key: string): Set<T> {
  let held = map.get(key)
  if (held === undefined) map.set(key, (held = new Set()))
  return held
}

function linkPod({ metadata, spec }: ApiPod, uid: string): LinkPod {
  const { generation = 0, labels, annotations, creationTimestamp, ownerReferences } = metadata
  const { deletionTimestamp, deletionGracePeriodSeconds } = metadata
  return {
    ...{ uid, generation, spec },
    metadata: {
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(ownerReferences === undefined
        ? {}
        : {
            ownerReferences: ownerReferences.map(({ kind, name, controller = false }) => ({ kind, name, controller })),
          }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      ...(deletionGracePeriodSeconds === undefined ? {} : { deletionGracePeriodSeconds }),
    },
  }
}

function linkPayload(kind: PayloadKind, { metadata, type, data, binaryData }: ApiPayload): LinkConfigMap | LinkSecret {
  const { uid = metadata.name, generation = 0 } = metadata
  const shared = { uid, generation, ...(data === undefined ? {} : { data }) }
  if (kind === 'Secret') return { ...shared, ...(type === undefined ? {} : { type }) }
  return { ...shared, ...(binaryData === undefined ? {} : { binaryData }) }
}

const revOf = (object: object): string =>
  createHash('sha256').update(JSON.stringify(object)).digest('base64url').slice(0, 16)
