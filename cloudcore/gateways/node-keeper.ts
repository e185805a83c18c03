import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, LEASES, NAMESPACES, NODES, objectPath } from '../kube/paths.ts'
import { Coalescer } from '../twins/coalescer.ts'
import { NODE_LABELS, type NodeFacts, nodeFacts, type Taint, withTaints } from './node-facts.ts'

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
}

interface KeptFacts {
  facts: NodeFacts
  /** Labels and taints that were written last, as text; undefined while nobody knows what the Node carries. */
  written: string | undefined
}

/** A Node and its Lease beside each gateway: the lease is renewed while the link lives, and only then. */
export class NodeKeeper {
  readonly #options: NodeKeeperOptions
  readonly #nodes = new Map<string, Kept>()
  readonly #facts = new Map<string, KeptFacts>()
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

  online(gateway: string, agentVersion: string): void {
    const nowMs = this.#options.clock.now()
    const held = this.#nodes.get(gateway)
    const sinceMs = held?.ready === true ? held.sinceMs : nowMs
    this.#nodes.set(gateway, { ready: true, sinceMs, nextRenewMs: 0, agentVersion })
    this.#leases.markDirty(gateway)
    if (held?.ready !== true || held.agentVersion !== agentVersion) this.#statuses.hurry(gateway)
  }

  /** The link broke: the lease runs out by itself unless the gateway is back before. */
  lost(gateway: string): void {
    const held = this.#nodes.get(gateway)
    if (held !== undefined) held.nextRenewMs = Number.POSITIVE_INFINITY
  }

  away(gateway: string, sinceMs: number): void {
    const held = this.#nodes.get(gateway)
    const agentVersion = held?.agentVersion ?? 'unknown'
    this.#nodes.set(gateway, { ready: false, sinceMs, nextRenewMs: Number.POSITIVE_INFINITY, agentVersion })
    this.#statuses.hurry(gateway)
  }

  /** What a gateway told of its power and link: conditions, labels and, where its spec asks for them, taints. */
  told(gateway: string, status: GatewayStatus, taints: GatewaySpec['taints']): void {
    const before = this.#facts.get(gateway)
    const facts = nodeFacts(status, taints, before?.facts.labels['sluice.dev/battery-band'])
    if (before === undefined) {
      if (facts.conditions.length === 0 && Object.values(facts.labels).every((label) => label === undefined)) return
      this.#facts.set(gateway, { facts, written: undefined })
    } else {
      if (JSON.stringify(before.facts) === JSON.stringify(facts)) return
      before.facts = facts
    }
    if (this.#nodes.has(gateway)) this.#statuses.markDirty(gateway)
  }

  forget(gateway: string): void {
    this.#facts.delete(gateway)
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
      await client.patch(path, 'merge', body)
    } catch (thrown) {
      if (toSluiceError(thrown).code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
      // A gateway that was never here and is away needs no Node.
      if (!node.ready) return
      await client.create(collectionPath(NODES), nodeObject(gateway))
      await client.patch(path, 'merge', body)
    }
    await this.#writeMarks(gateway)
  }

  /** Labels and taints. Those of others stay: the Node is read, and written only if nobody wrote it in between. */
  async #writeMarks(gateway: string): Promise<void> {
    const kept = this.#facts.get(gateway)
    if (kept === undefined) return
    const { labels, taints } = kept.facts
    const text = JSON.stringify([labels, taints])
    if (kept.written === text) return
    const { client } = this.#options
    const path = objectPath(NODES, gateway)
    const node = await client.get<HeldNode>(path)
    const changed = withTaints(node.spec?.taints ?? [], taints)
    const wanted = NODE_LABELS.map((label) => [label, labels[label] ?? null] as const)
    const held = node.metadata.labels ?? {}
    const labelled = wanted.every(([label, value]) => (held[label] ?? null) === value)
    if (changed !== undefined || !labelled) {
      const metadata = { resourceVersion: node.metadata.resourceVersion, labels: Object.fromEntries(wanted) }
      try {
        await client.patch(path, 'merge', { metadata, ...(changed === undefined ? {} : { spec: { taints: changed } }) })
      } catch (thrown) {
        if (toSluiceError(thrown).code !== 'SLUICE_KUBE_CONFLICT') throw thrown
        this.#statuses.markDirty(gateway)
        return
      }
    }
    kept.written = text
  }

  /** What a silent gateway told last is not known any more. */
  #conditionsOf(gateway: string, node: Kept, nowMs: number): object[] {
    return (this.#facts.get(gateway)?.facts.conditions ?? []).map((told) => ({
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
    return {
      conditions: [
        { type: 'Ready', ...ready, lastHeartbeatTime: seconds(nowMs), lastTransitionTime: seconds(node.sinceMs) },
        ...this.#conditionsOf(gateway, node, nowMs),
      ],
      addresses: face?.addresses ?? [{ type: 'Hostname', address: gateway }],
      ...(face === undefined ? {} : { daemonEndpoints: { kubeletEndpoint: { Port: face.port } } }),
      nodeInfo: {
        kubeletVersion: `v1.32.0-sluice-${node.agentVersion === 'unknown' ? version : node.agentVersion}`,
        architecture: '',
        bootID: '',
        containerRuntimeVersion: '',
        kernelVersion: '',
        kubeProxyVersion: '',
        machineID: '',
        operatingSystem: 'linux',
        osImage: '',
        systemUUID: '',
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
  spec: { taints: [{ key: 'sluice.dev/devices-only', value: 'true', effect: 'NoSchedule' }] },
})

const seconds = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`
