import type { SluiceError } from '../../api/errors.ts'
import {
  DEVICE_ANNOTATION,
  type Meaning,
  NEAR_ANNOTATION,
  OFFLOAD_ANNOTATION,
  PLACED_ANNOTATION,
  SILENCE_ANNOTATION,
} from '../../api/intents/intents.ts'
import { readMeaning } from '../../api/intents/parse.ts'
import { parseQuantity } from '../../api/intents/quantity.ts'
import { at, isObject, listAt, stringAt } from '../apiserver/objects.ts'
import type { NodeWish, Toleration } from './node-match.ts'

/** Amounts by resource name: cpu in thousandths of a core, memory in bytes, anything else in pieces. */
export type Amounts = Readonly<Record<string, number>>

export interface PodTerm {
  readonly selector: unknown
  readonly topologyKey: string
  /** Empty: the pod's own namespace. */
  readonly namespaces: readonly string[]
  readonly weight: number
}

export interface SpreadConstraint {
  readonly maxSkew: number
  readonly topologyKey: string
  readonly hard: boolean
  readonly selector: unknown
}

/** A pod as the scheduler sees it. */
export interface PodView {
  readonly key: string
  readonly uid: string
  /** Of the object as it was read. */
  readonly version: string
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly node: string | undefined
  readonly phase: string
  /** Why, as its status has it; empty for most. */
  readonly reason: string
  readonly message: string
  readonly leaving: boolean
  readonly scheduler: string
  readonly gated: boolean
  readonly priority: number
  /** It waits rather than that others go for it. */
  readonly neverPreempts: boolean
  readonly createdMs: number
  /** Who makes another one when this one goes. */
  readonly owner: { readonly kind: string; readonly name: string; readonly uid: string } | undefined
  readonly requests: Amounts
  readonly wish: NodeWish
  readonly tolerations: readonly Toleration[]
  readonly near: readonly PodTerm[]
  readonly apart: readonly PodTerm[]
  readonly preferNear: readonly PodTerm[]
  readonly preferApart: readonly PodTerm[]
  readonly spread: readonly SpreadConstraint[]
  readonly hostPorts: readonly string[]
  readonly claims: readonly string[]
  readonly images: readonly string[]
  /** Devices it cannot work without, and devices it reads from afar. */
  readonly devices: readonly string[]
  readonly nearDevices: readonly string[]
  readonly meaning: Meaning
  readonly problems: readonly SluiceError[]
  readonly offloadTo: string | undefined
  /** A scheduler of ours chose its node, and nobody else. */
  readonly placed: boolean
  readonly movesOnSilence: boolean
  /** Annotations that its workload has for it: they become its own when it is placed. */
  readonly inherited?: Readonly<Record<string, string>>
}

/** Reads a Pod of the API. What is missing or odd counts as not said. */
export function readPod(pod: unknown): PodView {
  const meta = at(pod, 'metadata')
  const namespace = stringAt(meta, 'namespace') || 'default'
  const name = stringAt(meta, 'name')
  const annotations = words(at(meta, 'annotations'))
  const spec = at(pod, 'spec')
  const { meaning, problems } = readMeaning(annotations)
  const owner = listAt(meta, 'ownerReferences').find((each) => at(each, 'controller') === true)
  const affinity = (kind: string, when: string) => podTerms(listAt(spec, 'affinity', kind, when), namespace)
  const [required, preferred] = ['required', 'preferred'].map((word) => `${word}DuringSchedulingIgnoredDuringExecution`)
  return {
    key: `${namespace}/${name}`,
    uid: stringAt(meta, 'uid'),
    version: stringAt(meta, 'resourceVersion'),
    ...{ namespace, name, labels: words(at(meta, 'labels')) },
    node: stringAt(spec, 'nodeName') || undefined,
    phase: stringAt(pod, 'status', 'phase') || 'Pending',
    reason: stringAt(pod, 'status', 'reason'),
    message: stringAt(pod, 'status', 'message'),
    leaving: at(meta, 'deletionTimestamp') !== undefined,
    scheduler: stringAt(spec, 'schedulerName') || 'default-scheduler',
    gated: listAt(spec, 'schedulingGates').length > 0,
    priority: Number(at(spec, 'priority') ?? 0) || 0,
    neverPreempts: stringAt(spec, 'preemptionPolicy') === 'Never',
    createdMs: Date.parse(stringAt(meta, 'creationTimestamp')) || 0,
    owner:
      owner === undefined
        ? undefined
        : { kind: stringAt(owner, 'kind'), name: stringAt(owner, 'name'), uid: stringAt(owner, 'uid') },
    requests: podRequests(spec),
    wish: {
      nodeSelector: words(at(spec, 'nodeSelector')),
      nodeAffinity: at(spec, 'affinity', 'nodeAffinity') as NonNullable<NodeWish['nodeAffinity']>,
    },
    tolerations: listAt(spec, 'tolerations').filter(isObject) as readonly Toleration[],
    near: affinity('podAffinity', required ?? ''),
    apart: affinity('podAntiAffinity', required ?? ''),
    preferNear: affinity('podAffinity', preferred ?? ''),
    preferApart: affinity('podAntiAffinity', preferred ?? ''),
    spread: listAt(spec, 'topologySpreadConstraints').map((each) => ({
      maxSkew: Math.max(1, Number(at(each, 'maxSkew') ?? 1) || 1),
      topologyKey: stringAt(each, 'topologyKey'),
      hard: stringAt(each, 'whenUnsatisfiable') !== 'ScheduleAnyway',
      selector: at(each, 'labelSelector'),
    })),
    hostPorts: hostPorts(spec),
    claims: listAt(spec, 'volumes').flatMap((each) => stringAt(each, 'persistentVolumeClaim', 'claimName') || []),
    images: containersOf(spec).map((each) => stringAt(each, 'image')),
    devices: names(annotations[DEVICE_ANNOTATION], namespace),
    nearDevices: names(annotations[NEAR_ANNOTATION], namespace),
    ...{ meaning, problems },
    offloadTo: annotations[OFFLOAD_ANNOTATION] || undefined,
    placed: annotations[PLACED_ANNOTATION] !== undefined,
    movesOnSilence: annotations[SILENCE_ANNOTATION] === 'move',
  }
}

/** A pod as Events name it. */
export const subjectOf = ({ namespace, name, uid }: PodView) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  namespace,
  name,
  uid,
})

export const hasEnded = ({ phase }: PodView) => phase === 'Succeeded' || phase === 'Failed'

const containersOf = (spec: unknown) => listAt(spec, 'containers')

function words(value: unknown): Readonly<Record<string, string>> {
  if (!isObject(value)) return {}
  return value as Readonly<Record<string, string>>
}

const names = (text: string | undefined, namespace: string) =>
  (text ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter(Boolean)
    .map((each) => (each.includes('/') ? each : `${namespace}/${each}`))

function podTerms(given: readonly unknown[], namespace: string): PodTerm[] {
  return given.map((each) => {
    const term = at(each, 'podAffinityTerm') ?? each
    const listed = listAt(term, 'namespaces').map(String)
    return {
      selector: at(term, 'labelSelector'),
      topologyKey: stringAt(term, 'topologyKey'),
      namespaces: listed.length === 0 ? [namespace] : listed,
      weight: Number(at(each, 'weight') ?? 1) || 1,
    }
  })
}

function hostPorts(spec: unknown): string[] {
  const network = at(spec, 'hostNetwork') === true
  return containersOf(spec).flatMap((container) =>
    listAt(container, 'ports').flatMap((port) => {
      const number = at(port, 'hostPort') ?? (network ? at(port, 'containerPort') : undefined)
      return typeof number === 'number' && number > 0 ? [`${stringAt(port, 'protocol') || 'TCP'}/${number}`] : []
    }),
  )
}

export function readAmounts(value: unknown): Amounts {
  if (!isObject(value)) return {}
  const found: Record<string, number> = {}
  for (const [name, text] of Object.entries(value)) {
    const amount = parseQuantity(String(text))
    if (amount !== undefined) found[name] = name === 'cpu' ? amount * 1000 : amount
  }
  return found
}

/** What a pod asks for: its containers together, or its hungriest init container, and a place (PodRequests of k8s). */
export function podRequests(spec: unknown): Amounts {
  const sum: Record<string, number> = {}
  const add = (amounts: Amounts) => {
    for (const [name, amount] of Object.entries(amounts)) sum[name] = (sum[name] ?? 0) + amount
  }
  const requests = (container: unknown): Amounts => ({
    ...readAmounts(at(container, 'resources', 'limits')),
    ...readAmounts(at(container, 'resources', 'requests')),
  })
  for (const container of containersOf(spec)) add(requests(container))
  const peak: Record<string, number> = {}
  const sidecars: Record<string, number> = {}
  for (const container of listAt(spec, 'initContainers')) {
    const own = requests(container)
    const stays = stringAt(container, 'restartPolicy') === 'Always'
    for (const [name, amount] of Object.entries(own)) {
      if (stays) sidecars[name] = (sidecars[name] ?? 0) + amount
      peak[name] = Math.max(peak[name] ?? 0, (sidecars[name] ?? 0) + (stays ? 0 : amount))
    }
  }
  add(sidecars)
  for (const [name, amount] of Object.entries(peak)) sum[name] = Math.max(sum[name] ?? 0, amount)
  add(readAmounts(at(spec, 'overhead')))
  sum['pods'] = 1
  return sum
}

/** Its gateway did not take it, or gave it back: it is to begin elsewhere. Words of agent/pods and of the kubelet. */
export const isGivenBack = ({ phase, reason }: PodView): boolean =>
  phase === 'Failed' && /^(HandedBack|RefusedByGateway|OutOf(pods|cpu|memory))$/.test(reason)
