import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../api/clock.ts'
import { podDetail } from '../../api/console/pod-detail.ts'
import { answerPodLogs, type ReachablePod } from '../../api/console/pod-streams.ts'
import type { ExplanationView, PlaceCard, PodCard, PodDetail, WorkView } from '../../api/console/work.ts'
import { SluiceError } from '../../api/errors.ts'
import { OFFLOAD_ANNOTATION, PLACED_ANNOTATION } from '../../api/intents/intents.ts'
import type { PodStatus } from '../../api/link/pods.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, objectPath, PODS } from '../kube/paths.ts'
import { placePod } from '../kubelet/pod-finder.ts'
import { type Candidate, choose } from '../scheduler/choose.ts'
import type { Cluster, Place } from '../scheduler/cluster.ts'
import { ask, obstacles } from '../scheduler/filter.ts'
import { hasEnded, type PodView, readPod } from '../scheduler/pod-view.ts'
import type { StreamBroker } from '../streams/broker.ts'
import { readJson, sendJson } from './http.ts'

export interface WorkRoutesOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly streams: StreamBroker
  /** What the scheduler decides from, as of now. */
  readonly cluster: () => Cluster
}

interface ApiPod {
  readonly metadata: {
    readonly namespace?: string
    readonly name: string
    readonly uid: string
    readonly deletionTimestamp?: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec: { readonly containers: readonly { readonly name: string; readonly image: string }[] }
  readonly status?: Partial<PodStatus>
}

const MAX_BODY_BYTES = 16 * 1024
/** A cluster of somebody's own may have more pods than anybody can look at. */
const MAX_PODS = 2_000

/**
 * What runs where, why, and a look inside:
 *
 *     GET  /v1/work                                    WorkView
 *     GET  /v1/pods?node=                              {items: PodDetail[]}
 *     GET  /v1/pods/{namespace}/{name}/explain         ExplanationView
 *     POST /v1/pods/{namespace}/{name}/offload         {to} -> {pod, to}
 *     GET  /v1/pods/{namespace}/{name}/logs            text; api/console/pod-streams.ts
 *
 * Answers whether it was one of them.
 */
export class WorkRoutes {
  readonly #options: WorkRoutesOptions

  constructor(options: WorkRoutesOptions) {
    this.#options = options
  }

  async answered(
    request: IncomingMessage,
    response: ServerResponse,
    path: readonly string[],
    url: URL,
  ): Promise<boolean> {
    const [, second, namespace = '', name = '', fifth] = path
    const { method } = request
    if (second === 'work' && path.length === 2 && method === 'GET') sendJson(response, 200, this.#work())
    else if (second !== 'pods') return false
    else if (path.length === 2 && method === 'GET') {
      sendJson(response, 200, { items: await this.#podsOf(url.searchParams.get('node')) })
    } else if (path.length !== 5) return false
    else if (fifth === 'explain' && method === 'GET') {
      sendJson(response, 200, await this.#explain(namespace, name))
    } else if (fifth === 'offload' && method === 'POST') {
      sendJson(response, 200, await this.#offload(request, namespace, name))
    } else if (fifth === 'logs' && method === 'GET') {
      const gone = new AbortController()
      response.once('close', () => gone.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever asked went away')))
      const pod = await this.find(namespace, name, gone.signal)
      await answerPodLogs(pod, url.searchParams, response, gone.signal)
    } else return false
    return true
  }

  /** A pod and the way to it. Throws SLUICE_POD_NOT_FOUND. */
  async find(namespace: string, name: string, signal: AbortSignal): Promise<ReachablePod> {
    const { client, streams } = this.#options
    const { gateway, ...pod } = await placePod(client, namespace, name, signal)
    return { ...pod, open: (kind, target, over) => streams.dial({ gateway, kind, target, signal: over }) }
  }

  #work(): WorkView {
    const cluster = this.#options.cluster()
    const places = [...cluster.places.values()].map(placeCard).sort(byName)
    const pods = [...cluster.pods.values()].filter((pod) => !hasEnded(pod))
    return { places, pods: pods.slice(0, MAX_PODS).map(podCard).sort(byName) }
  }

  async #podsOf(node: string | null): Promise<readonly PodDetail[]> {
    if (node === null || node === '') {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', "the question needs a 'node'", { hint: '/v1/pods?node=gw-1' })
    }
    const query = { fieldSelector: `spec.nodeName=${node}`, limit: 500 }
    const { items } = await this.#options.client.list<ApiPod>(collectionPath(PODS), { query })
    return items.map(({ metadata, spec, status }) =>
      podDetail({
        ...{ namespace: metadata.namespace ?? 'default', name: metadata.name, uid: metadata.uid },
        leaving: metadata.deletionTimestamp !== undefined,
        ...{ containers: spec.containers, status },
      }),
    )
  }

  async #explain(namespace: string, name: string): Promise<ExplanationView> {
    const { client, clock, cluster } = this.#options
    const raw = await client.get<ApiPod>(objectPath(PODS, name, namespace))
    const pod = readPod(raw)
    const { node, why, waitUntilMs, candidates } = choose(pod, cluster(), { nowMs: clock.now(), detailed: true })
    const because = raw.metadata.annotations?.[PLACED_ANNOTATION]
    return {
      ...{ pod: podCard(pod), why, candidates: candidates.map(spoken) },
      ...(because === undefined ? {} : { because }),
      ...(node === undefined ? {} : { wouldGo: node }),
      ...(waitUntilMs === undefined ? {} : { waitUntil: new Date(waitUntilMs).toISOString() }),
    }
  }

  async #offload(request: IncomingMessage, namespace: string, name: string) {
    const body = await readJson(request, MAX_BODY_BYTES)
    const to: unknown = typeof body === 'object' && body !== null ? Reflect.get(body, 'to') : undefined
    if (typeof to !== 'string' || to === '') throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs a 'to'")
    const { client, cluster } = this.#options
    const pod = readPod(await client.get<unknown>(objectPath(PODS, name, namespace)))
    if (pod.node !== to) {
      const known = cluster()
      const place = known.places.get(to)
      const against =
        place === undefined
          ? [`there is no node ${to}`]
          : obstacles(ask({ ...pod, offloadTo: undefined }, known, false), place)
      if (against.length > 0) {
        throw new SluiceError('SLUICE_OFFLOAD_REFUSED', `${to} is no place for ${pod.key}: ${against.join('; ')}`, {
          hint: `sluice explain ${name} -n ${namespace} shows every node.`,
        })
      }
      const metadata = { annotations: { [OFFLOAD_ANNOTATION]: to } }
      await client.patch(objectPath(PODS, name, namespace), 'merge', { metadata })
    }
    return { pod: pod.key, gateway: to }
  }
}

const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1)

const spoken = ({ node, obstacles: against, score, parts }: Candidate) => ({
  ...{ node, score, obstacles: against },
  parts: parts.map(({ of, points, weight, why }) => ({ of, points, weight, why: why() })),
})

function podCard(pod: PodView): PodCard {
  const { namespace, name, uid, node, phase, leaving, owner, meaning, problems, offloadTo, requests } = pod
  return {
    ...{ namespace, name, uid, phase, leaving },
    ...(node === undefined ? {} : { node }),
    ...(owner === undefined ? {} : { owner: `${owner.kind} ${owner.name}` }),
    intents: meaning.intents.map(({ name: intent, text, hard }) => ({ name: intent, text, hard })),
    problems: problems.map(({ message, hint }) => ({ message, ...(hint === undefined ? {} : { hint }) })),
    ...(offloadTo === undefined ? {} : { offloadTo }),
    ...{ cpuMilli: requests['cpu'] ?? 0, memoryBytes: requests['memory'] ?? 0 },
  }
}

function placeCard({ node, gateway, requested, devices }: Place): PlaceCard {
  const room = (name: string) => ({ requested: requested[name] ?? 0, allocatable: node.allocatable[name] ?? 0 })
  const told = {
    batteryPercent: gateway?.battery?.percent,
    ...{ supply: gateway?.supply, watts: gateway?.watts, wattsSource: gateway?.wattsSource },
    ...{ roundTripMs: gateway?.roundTripMs, celsius: gateway?.celsius },
    location: node.labels['sluice.dev/location'],
  }
  return {
    ...{ name: node.name, ready: node.ready === 'True', gateway: gateway !== undefined, closed: node.unschedulable },
    ...Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined)),
    ...{ cpuMilli: room('cpu'), memoryBytes: room('memory') },
    devices: [...devices.values()].filter(({ online }) => online).length,
  }
}
