import { at, isObject, listAt, stringAt } from '../apiserver/objects.ts'
import type { DeviceFacts, GatewayFacts } from './gateway-facts.ts'
import type { NodeTaint } from './node-match.ts'
import { type Amounts, hasEnded, type PodView, readAmounts } from './pod-view.ts'

/** A node as the scheduler sees it. */
export interface NodeView {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly taints: readonly NodeTaint[]
  readonly unschedulable: boolean
  readonly ready: 'True' | 'False' | 'Unknown'
  readonly architecture: string
  readonly allocatable: Amounts
  readonly images: ReadonlySet<string>
}

export function readNode(node: unknown): NodeView {
  const words = (value: unknown) => (isObject(value) ? (value as Readonly<Record<string, string>>) : {})
  const ready = listAt(node, 'status', 'conditions').find((each) => stringAt(each, 'type') === 'Ready')
  const status = stringAt(ready, 'status')
  const allocatable = at(node, 'status', 'allocatable') ?? at(node, 'status', 'capacity')
  return {
    name: stringAt(node, 'metadata', 'name'),
    labels: words(at(node, 'metadata', 'labels')),
    annotations: words(at(node, 'metadata', 'annotations')),
    taints: listAt(node, 'spec', 'taints').filter(isObject) as readonly object[] as readonly NodeTaint[],
    unschedulable: at(node, 'spec', 'unschedulable') === true,
    ready: status === 'True' || status === 'False' ? status : 'Unknown',
    architecture: stringAt(node, 'status', 'nodeInfo', 'architecture'),
    allocatable: readAmounts(allocatable),
    images: new Set(listAt(node, 'status', 'images').flatMap((each) => listAt(each, 'names').map(String))),
  }
}

/** A node with what runs there. Sums are kept as pods come and go, so that a decision adds up nothing. */
export interface Place {
  node: NodeView
  readonly pods: Map<string, PodView>
  readonly requested: Record<string, number>
  gateway: GatewayFacts | undefined
  /** By `namespace/name`. */
  readonly devices: Map<string, DeviceFacts>
}

/** Everything a decision is made from. Pods are known by uid; a pod counts on one node, whatever is told how often. */
export class Cluster {
  readonly places = new Map<string, Place>()
  readonly pods = new Map<string, PodView>()
  /** Pods that want others kept away from them. */
  readonly loners = new Map<string, PodView>()
  readonly #devices = new Map<string, DeviceFacts>()
  /** Pods by `key=value` of each label: what an affinity term selects is found, and not searched for. */
  readonly #labelled = new Map<string, Map<string, PodView>>()

  setNode(node: NodeView): void {
    const held = this.places.get(node.name)
    if (held !== undefined) {
      held.node = node
      return
    }
    const place: Place = { node, pods: new Map(), requested: {}, gateway: undefined, devices: new Map() }
    this.places.set(node.name, place)
    for (const pod of this.pods.values()) if (pod.node === node.name && counts(pod)) addTo(place, pod)
    for (const device of this.#devices.values()) if (device.gateway === node.name) place.devices.set(device.key, device)
  }

  removeNode(name: string): void {
    this.places.delete(name)
  }

  setPod(pod: PodView): void {
    this.removePod(pod.uid)
    this.pods.set(pod.uid, pod)
    for (const [key, value] of Object.entries(pod.labels)) {
      const label = `${key}=${value}`
      const held = this.#labelled.get(label)
      if (held === undefined) this.#labelled.set(label, new Map([[pod.uid, pod]]))
      else held.set(pod.uid, pod)
    }
    if (pod.node === undefined || !counts(pod)) return
    const place = this.places.get(pod.node)
    if (place !== undefined) addTo(place, pod)
    if (pod.apart.length > 0) this.loners.set(pod.uid, pod)
  }

  removePod(uid: string): void {
    const held = this.pods.get(uid)
    if (held === undefined) return
    this.pods.delete(uid)
    this.loners.delete(uid)
    for (const [key, value] of Object.entries(held.labels)) {
      const label = `${key}=${value}`
      const others = this.#labelled.get(label)
      if (others?.delete(uid) === true && others.size === 0) this.#labelled.delete(label)
    }
    const place = held.node === undefined ? undefined : this.places.get(held.node)
    if (place === undefined || !place.pods.delete(uid)) return
    for (const [name, amount] of Object.entries(held.requests))
      place.requested[name] = (place.requested[name] ?? 0) - amount
  }

  /** Pods with this label, in whatever namespace. */
  labelled(key: string, value: unknown): Iterable<PodView> {
    return this.#labelled.get(`${key}=${String(value)}`)?.values() ?? []
  }

  setGateway(name: string, facts: GatewayFacts | undefined): void {
    const place = this.places.get(name)
    if (place !== undefined) place.gateway = facts
  }

  /** All devices there are, in place of those that were known. */
  setDevices(devices: Iterable<DeviceFacts>): void {
    for (const place of this.places.values()) place.devices.clear()
    this.#devices.clear()
    for (const device of devices) {
      this.#devices.set(device.key, device)
      this.places.get(device.gateway)?.devices.set(device.key, device)
    }
  }

  device(key: string): DeviceFacts | undefined {
    return this.#devices.get(key)
  }
}

/** A pod that has ended takes nothing any more. */
const counts = (pod: PodView) => !hasEnded(pod)

function addTo(place: Place, pod: PodView): void {
  place.pods.set(pod.uid, pod)
  for (const [name, amount] of Object.entries(pod.requests))
    place.requested[name] = (place.requested[name] ?? 0) + amount
}
