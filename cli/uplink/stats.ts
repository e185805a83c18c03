import type { Clock } from '../../api/clock.ts'
import type { GatewayStats, PodUse, UseNow } from '../../api/link/pod-streams.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import type { PodView } from '../../cloudcore/scheduler/pod-view.ts'
import { type ChildPod, parentOf } from './mirror.ts'

export interface StatsBelowOptions {
  readonly client: Pick<KubeClient, 'get'>
  readonly clock: Clock
  /** Nodes that are asked, and whether one is a gateway: the cloud core answers for all of those at one address. */
  readonly nodes: () => Iterable<{ readonly name: string; readonly isGateway: boolean }>
  /** Pods from above, and on which node each is. */
  readonly held: () => Iterable<{ readonly pod: ChildPod; readonly node: PodView['node'] }>
}

/** Nodes asked at a time. */
const PARALLEL = 24
/** What has answered by then is told: whoever is above waits for five seconds. */
const WITHIN_MS = 4_000

/** What the nodes of this supernode use together, and each pod from above, under the uid it has there. */
export async function statsBelow(options: StatsBelowOptions, signal: AbortSignal): Promise<GatewayStats> {
  const { client, clock } = options
  const uids = new Map<string, string>()
  const wanted = new Set<string>()
  for (const { pod, node } of options.held()) {
    uids.set(pod.metadata.uid, parentOf(pod))
    if (node !== undefined) wanted.add(node)
  }
  const until = AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)])
  // Where pods from above run is asked first: of the others only the sum would be smaller.
  const waiting = [...options.nodes()].sort((a, b) => Number(wanted.has(a.name)) - Number(wanted.has(b.name)))
  const sum = { cpuS: 0, cpuCores: 0, memoryBytes: 0 }
  let rated = false
  const pods: PodUse[] = []
  const ask = async () => {
    for (let node = waiting.pop(); node !== undefined && !until.aborted; node = waiting.pop()) {
      const name = encodeURIComponent(node.name)
      const path = `/api/v1/nodes/${name}/proxy${node.isGateway ? `/gateways/${name}` : ''}/stats/summary`
      try {
        const told = readSummary(await client.get<unknown>(path, { signal: until, timeoutMs: WITHIN_MS }))
        sum.cpuS += told.node.cpuS
        sum.cpuCores += told.node.cpuCores ?? 0
        rated ||= told.node.cpuCores !== undefined
        sum.memoryBytes += told.node.memoryBytes
        for (const pod of told.pods) {
          const uid = uids.get(pod.uid)
          if (uid !== undefined) pods.push({ ...pod, uid })
        }
      } catch {
        // A node that is away uses nothing that anybody could tell; the others do.
      }
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, ask))
  const { cpuCores, ...node } = sum
  return { atMs: clock.now(), node: { ...node, ...(rated ? { cpuCores } : {}) }, pods }
}

/** Reads what a kubelet says at `/stats/summary`; what it does not measure counts as nothing. */
export function readSummary(told: unknown): Pick<GatewayStats, 'node' | 'pods'> {
  const pods = listOf(fieldOf(told, 'pods')).flatMap((pod): PodUse[] => {
    const ref = fieldOf(pod, 'podRef')
    const [namespace, name, uid] = ['namespace', 'name', 'uid'].map((field) => textOf(fieldOf(ref, field)))
    if (namespace === undefined || name === undefined || uid === undefined) return []
    const containers = listOf(fieldOf(pod, 'containers')).flatMap((container) => {
      const own = textOf(fieldOf(container, 'name'))
      return own === undefined ? [] : [{ name: own, ...useOf(container) }]
    })
    return [{ namespace, name, uid, containers, ...useOf(pod) }]
  })
  return { node: useOf(fieldOf(told, 'node')), pods }
}

function useOf(told: unknown): UseNow {
  const cpu = fieldOf(told, 'cpu')
  const nanoCores = figureOf(fieldOf(cpu, 'usageNanoCores'))
  const startedMs = Date.parse(textOf(fieldOf(told, 'startTime')) ?? '')
  return {
    cpuS: (figureOf(fieldOf(cpu, 'usageCoreNanoSeconds')) ?? 0) / 1e9,
    ...(nanoCores === undefined ? {} : { cpuCores: nanoCores / 1e9 }),
    memoryBytes: figureOf(fieldOf(fieldOf(told, 'memory'), 'workingSetBytes')) ?? 0,
    ...(startedMs > 0 ? { startedMs } : {}),
  }
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, 253) : undefined

const figureOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
