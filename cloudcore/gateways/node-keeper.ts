import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { MachineFacts } from '../../api/link/machine.ts'
import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, LEASES, NAMESPACES, NODES, objectPath } from '../kube/paths.ts'
import { Coalescer } from '../twins/coalescer.ts'
import {
  DEVICES_ONLY,
  machineStatus,
  NODE_LABELS,
  type NodeFacts,
  nodeFacts,
  type Taint,
  withTaints,
} from './node-facts.ts'

export const LEASE_NAMESPACE = 'kube-node-lease'
/** Defaults of the kubelet: 40 s of validity, renewed after a quarter of it. */
export const LEASE_DURATION_S = 40
const RENEW_EVERY_MS = 10_000
const TICK_MS = 1_000

export interface NodeKeeperOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly version: string
  /** Lease renewals that may be under way at once; a cluster far away needs more than an API beside us. */
  readonly parallelRenewals: number
  readonly onTrouble: (what: string, error: SluiceError) => void
  /** `Gateway.spec.pods`. */
  readonly limits?: (gateway: string) => GatewaySpec['pods']
  /** Where an API server finds the kubelet of every gateway; undefined while there is none. */
  readonly kubelet?: () => NodeFace | undefined
}

/** What a Node says of its kubelet. */
export interface NodeFace {
  readonly addresses: readonly { readonly type: 'Hostname' | 'InternalIP' | 'InternalDNS'; readonly address: string }[]
  readonly port: number
}

interface Kept {
  ready: boolean
  sinceMs: number
  nextRenewMs: number
  agentVersion: string
  /** What pods run on there; `none`: nothing runs them. Undefined for a gateway that was not here yet. */
  machine: MachineFacts | 'none' | undefined
}

/** A Node and its Lease beside each gateway: the lease is renewed while the link lives, and only then. */
export class NodeKeeper {
  readonly #options: NodeKeeperOptions
  readonly #nodes = new Map<string, Kept>()
  readonly #facts = new Map<string, NodeFacts>()
  /** Labels and taints that were written last, as text; absent while nobody knows what the Node carries. */
  readonly #written = new Map<string, string>()
  readonly #leases: Coalescer
  readonly #statuses: Coalescer
  #timer: Timer | undefined

  constructor(options: NodeKeeperOptions) {
    this.#options = options
    const { clock, signal } = options
    this.#leases = new Coalescer({
      clock,
      signal,
      intervalMs: TICK_MS,
      parallel: options.parallelRenewals,
      write: (gateway) => this.#renew(gateway),
      onRefused: (gateway, error) => options.onTrouble(`lease of ${gateway}`, error),
    })
    this.#statuses = new Coalescer({
      clock,
      signal,
      intervalMs: TICK_MS,
      parallel: 2,
      write: (gateway) => this.#writeNode(gateway),
      onRefused: (gateway, error) => options.onTrouble(`node ${gateway}`, error),
    })
    signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true })
    this.#arm()
  }

  /** Its link is up. `machine`: what pods run on there; absent when none do. */
  online(gateway: string, agentVersion: string, told?: MachineFacts): void {
    const nowMs = this.#options.clock.now()
    const held = this.#nodes.get(gateway)
    const sinceMs = held?.ready === true ? held.sinceMs : nowMs
    const machine = told ?? 'none'
    this.#nodes.set(gateway, { ready: true, sinceMs, nextRenewMs: 0, agentVersion, machine })
    this.#leases.markDirty(gateway)
    const same = held?.agentVersion === agentVersion && JSON.stringify(held.machine) === JSON.stringify(machine)
    if (held?.ready !== true || !same) this.#statuses.hurry(gateway)
  }

  /** The link broke: the lease runs out by itself unless the gateway is back before. */
  lost(gateway: string): void {
    const held = this.#nodes.get(gateway)
    if (held !== undefined) held.nextRenewMs = Number.POSITIVE_INFINITY
  }

  away(gateway: string, sinceMs: number): void {
    const held = this.#nodes.get(gateway)
    const agentVersion = held?.agentVersion ?? 'unknown'
    const machine = held?.machine
    this.#nodes.set(gateway, { ready: false, sinceMs, nextRenewMs: Number.POSITIVE_INFINITY, agentVersion, machine })
    this.#statuses.hurry(gateway)
  }

  /** What a gateway told of its power and link: conditions, labels and, where its spec asks for them, taints. */
  told(gateway: string, status: GatewayStatus, taints: GatewaySpec['taints']): void {
    const before = this.#facts.get(gateway)
    const facts = nodeFacts(status, taints, before?.labels['sluice.dev/battery-band'])
    if (before === undefined) {
      if (facts.conditions.length === 0 && Object.values(facts.labels).every((label) => label === undefined)) return
    } else if (JSON.stringify(before) === JSON.stringify(facts)) return
    this.#facts.set(gateway, facts)
    if (this.#nodes.has(gateway)) this.#statuses.markDirty(gateway)
  }

  /** The limits of a gateway have changed. */
  limitsChanged(gateway: string): void {
    if (this.#nodes.has(gateway)) this.#statuses.markDirty(gateway)
  }

  forget(gateway: string): void {
    this.#facts.delete(gateway)
    this.#written.delete(gateway)
    this.#nodes.delete(gateway)
    this.#leases.forget(gateway)
    this.#statuses.forget(gateway)
  }

  #arm(): void {
    const { clock, signal } = this.#options
    if (signal.aborted) return
    this.#timer = clock.after(
      TICK_MS,
      () => {
        const nowMs = clock.monotonic()
        for (const [gateway, node] of this.#nodes) {
          if (node.nextRenewMs === 0) node.nextRenewMs = nowMs + RENEW_EVERY_MS
          else if (node.nextRenewMs <= nowMs) {
            node.nextRenewMs = nowMs + RENEW_EVERY_MS
            this.#leases.markDirty(gateway)
          }
        }
        this.#arm()
      },
      true,
    )
  }

  async #renew(gateway: string): Promise<void> {
    const node = this.#nodes.get(gateway)
    if (node === undefined || node.nextRenewMs === Number.POSITIVE_INFINITY) return
    const { client, clock } = this.#options
    // MicroTime has exactly six digits.
    const renewTime = new Date(clock.now()).toISOString().replace('Z', '000Z')
    const spec = { holderIdentity: gateway, leaseDurationSeconds: LEASE_DURATION_S, renewTime }
    try {
      await client.patch(objectPath(LEASES, gateway, LEASE_NAMESPACE), 'merge', { spec })
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
      await this.#createLease(gateway, { ...spec, acquireTime: renewTime })
    }
  }

  async #createLease(gateway: string, spec: object): Promise<void> {
    const { client } = this.#options
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: gateway, namespace: LEASE_NAMESPACE },
      spec,
    }
    try {
      await client.create(collectionPath(LEASES, LEASE_NAMESPACE), lease)
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
      const metadata = { name: LEASE_NAMESPACE }
      await client.create(collectionPath(NAMESPACES), { apiVersion: 'v1', kind: 'Namespace', metadata })
      await client.create(collectionPath(LEASES, LEASE_NAMESPACE), lease)
    }
  }

  async #writeNode(gateway: string): Promise<void> {
    const node = this.#nodes.get(gateway)
    if (node === undefined) return
    const { client } = this.#options
    const path = objectPath(NODES, gateway, undefined, 'status')
    const body = { status: this.#statusOf(gateway, node) }
    try {
      await this.#writeMarks(gateway, node, await client.patch<HeldNode>(path, 'merge', body))
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
      // A gateway that was never here and is away needs no Node.
      if (!node.ready) return
      await client.create(collectionPath(NODES), nodeObject(gateway))
      this.#written.delete(gateway)
      await this.#writeMarks(gateway, node, await client.patch<HeldNode>(path, 'merge', body))
    }
  }

  /** Labels and taints. Those of others stay: the Node is written only if nobody wrote it since it was `live`. */
  async #writeMarks(gateway: string, { machine }: Kept, live: HeldNode): Promise<void> {
    const facts = this.#facts.get(gateway)
    const text = JSON.stringify([facts?.labels, facts?.taints, machine])
    if (this.#written.get(gateway) === text) return
    const { client } = this.#options
    const path = objectPath(NODES, gateway)
    const before = live.spec?.taints ?? []
    // Pods may come as soon as something runs them, and not any more when nothing does.
    const opened =
      machine === undefined
        ? undefined
        : withTaints(before, machine === 'none' ? [DEVICES_ONLY] : [], [DEVICES_ONLY.key])
    const marked = facts === undefined ? undefined : withTaints(opened ?? before, facts.taints)
    const changed = marked ?? opened
    const wanted: (readonly [label: string, value: string | null])[] =
      facts === undefined ? [] : NODE_LABELS.map((label) => [label, facts.labels[label] ?? null])
    if (typeof machine === 'object') wanted.push(['kubernetes.io/arch', machine.architecture])
    const held = live.metadata.labels ?? {}
    const labelled = wanted.every(([label, value]) => (held[label] ?? null) === value)
    if (changed !== undefined || !labelled) {
      const metadata = { resourceVersion: live.metadata.resourceVersion, labels: Object.fromEntries(wanted) }
      try {
        await client.patch(path, 'merge', { metadata, ...(changed === undefined ? {} : { spec: { taints: changed } }) })
      } catch (thrown) {
        if (toSluiceError(thrown).code !== 'SLUICE_KUBE_CONFLICT') throw thrown
        this.#statuses.markDirty(gateway)
        return
      }
    }
    this.#written.set(gateway, text)
  }

  /** What a silent gateway told last is not known any more. */
  #conditionsOf(gateway: string, node: Kept, nowMs: number): object[] {
    return (this.#facts.get(gateway)?.conditions ?? []).map((told) => ({
      type: told.type,
      ...(node.ready
        ? { status: told.status, reason: told.reason, message: told.message }
        : { status: 'Unknown', reason: 'LinkDown', message: 'the gateway is silent' }),
      lastHeartbeatTime: seconds(nowMs),
      lastTransitionTime: seconds(node.ready ? Date.parse(told.lastTransitionTime) || nowMs : node.sinceMs),
    }))
  }

  #statusOf(gateway: string, node: Kept): object {
    const { clock, version } = this.#options
    const nowMs = clock.now()
    const face = this.#options.kubelet?.()
    const ready = node.ready
      ? { status: 'True', reason: 'LinkUp', message: 'the gateway is connected' }
      : { status: 'Unknown', reason: 'LinkDown', message: 'the gateway is silent' }
    const { nodeInfo, ...amounts } = machineStatus(
      node.machine === 'none' ? undefined : node.machine,
      this.#options.limits?.(gateway),
    )
    return {
      // What a gateway has is not unknown only because it has not come back yet.
      ...(node.machine === undefined ? {} : amounts),
      conditions: [
        { type: 'Ready', ...ready, lastHeartbeatTime: seconds(nowMs), lastTransitionTime: seconds(node.sinceMs) },
        ...this.#conditionsOf(gateway, node, nowMs),
      ],
      addresses: face?.addresses ?? [{ type: 'Hostname', address: gateway }],
      ...(face === undefined ? {} : { daemonEndpoints: { kubeletEndpoint: { Port: face.port } } }),
      nodeInfo: {
        kubeletVersion: `v1.32.0-sluice-${node.agentVersion === 'unknown' ? version : node.agentVersion}`,
        ...{ bootID: '', kubeProxyVersion: '', machineID: '', systemUUID: '', operatingSystem: 'linux' },
        ...nodeInfo,
      },
    }
  }
}

interface HeldNode {
  readonly metadata: { readonly resourceVersion?: string; readonly labels?: Readonly<Record<string, string>> }
  readonly spec?: { readonly taints?: readonly Taint[] }
}

const nodeObject = (gateway: string) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name: gateway,
    // One listener stands for all gateways: metrics-server has to say which it means.
    annotations: { 'metrics.k8s.io/resource-metrics-path': `/gateways/${gateway}/metrics/resource` },
    labels: {
      'kubernetes.io/hostname': gateway,
      'kubernetes.io/os': 'linux',
      'node-role.kubernetes.io/edge': '',
      'sluice.dev/gateway': gateway,
    },
  },
  // No pod may land here before something on the gateway can run it.
  spec: { taints: [DEVICES_ONLY] },
})

const seconds = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`
