import type { Clock } from '../../api/clock.ts'
import { podDetail } from '../../api/console/pod-detail.ts'
import type { ReachablePod } from '../../api/console/pod-streams.ts'
import { answerQuestions } from '../../api/console/questions.ts'
import type { PodDetail } from '../../api/console/work.ts'
import { SluiceError } from '../../api/errors.ts'
import { loopbackStream } from '../../api/link/loopback-stream.ts'
import type { LinkPod } from '../../api/link/pods.ts'
import { type Json, objectKey, splitKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { LinkStats, NoticeView, PlanExplanation } from '../../api/views.ts'
import type { Protocol } from '../../mappers/sdk/mapper.ts'
import type { AgentCore } from '../core.ts'
import type { EnergySnapshot } from '../energy/snapshot.ts'
import type { StreamHandler } from '../streams/host.ts'
import { EnergySeries } from './energy-series.ts'
import { Trials } from './trial.ts'

export interface InsightOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly protocols: readonly Protocol[]
  readonly energy: () => EnergySnapshot
  readonly metrics: () => string
  readonly notices: () => readonly NoticeView[]
  /** What serves a stream to a pod here; undefined where no pods run. */
  readonly podStream: ((kind: string) => Promise<StreamHandler | undefined>) | undefined
}

/**
 * What only the gateway itself knows, for its own console and, over a stream, for the fleet's:
 *
 *     links                                {items: LinkStats[]}
 *     notices                              {items: NoticeView[]}
 *     energy                               EnergySnapshot
 *     metrics                              the page that Prometheus reads, as one text
 *     energy/series?from=MILLISECONDS      EnergySeriesView
 *     plan/NAMESPACE/NAME?every=5s         PlanExplanation; with `every` as it would be with another period of the device,
 *                                          `property=NAME` with another one of that property
 *     pods                                 {items: PodDetail[]}
 *     trial  {device, model}               TrialView
 */
export class Insight implements Disposable {
  readonly #options: InsightOptions
  readonly #trials: Trials
  #series: EnergySeries | undefined

  constructor(options: InsightOptions) {
    this.#options = options
    this.#trials = new Trials(options.core, options.clock, options.protocols)
  }

  /** Whether a path without `/v1/` is one of these. */
  knows(path: string): boolean {
    return PATH.test(path)
  }

  /** Throws SLUICE_API_NOT_FOUND for what is not known, and what each of them throws. */
  async ask(target: string, body: Json | undefined): Promise<Json> {
    const url = new URL(target, 'http://gateway/')
    const parts = url.pathname.slice(1).split('/').map(decodeURIComponent)
    const [first, namespace = '', name = ''] = parts
    const path = parts.join('/')
    const { core, energy, notices } = this.#options
    if (path === 'links') return json<{ items: LinkStats[] }>({ items: core.mappers.links() })
    if (path === 'notices') return json<{ items: readonly NoticeView[] }>({ items: notices() })
    if (path === 'energy') return json(this.#energy())
    if (path === 'metrics') return this.#options.metrics()
    if (path === 'energy/series') {
      this.#series ??= new EnergySeries(this.#options.clock, energy, (uid) => this.#podName(uid))
      return json(this.#series.view(Number(url.searchParams.get('from') ?? 0) || 0))
    }
    if (path === 'pods') return json<{ items: readonly PodDetail[] }>({ items: this.#pods() })
    if (first === 'plan' && parts.length === 3) return json(this.#plan(objectKey(namespace, name), url.searchParams))
    if (path === 'trial') return json(await this.#trial(body))
    throw new SluiceError('SLUICE_API_NOT_FOUND', `A gateway is not asked for ${path}`)
  }

  /** Answers the cloud for as long as the stream is open. */
  readonly serve: StreamHandler = async ({ endpoint, ready }) => {
    ready()
    const channels = { questions: endpoint.channel(0), replies: endpoint.channel(1) }
    await answerQuestions(channels, (path, body) => this.ask(path, body))
    return {}
  }

  /** A pod that runs here and the way to it. Throws SLUICE_POD_NOT_FOUND. */
  findPod(namespace: string, name: string): ReachablePod {
    const { core, podStream } = this.#options
    const key = objectKey(namespace, name)
    for (const { kind, key: held, object } of core.objects.podObjects()) {
      if (kind !== 'Pod' || held !== key || podStream === undefined) continue
      const { uid, spec } = object as LinkPod
      const containers = spec.containers.map((container) => container.name)
      return { namespace, pod: name, uid, containers, open: (...asked) => openHere(podStream, ...asked) }
    }
    throw new SluiceError('SLUICE_POD_NOT_FOUND', `pod ${key} does not run on this gateway`)
  }

  [Symbol.dispose](): void {
    this.#series?.[Symbol.dispose]()
  }

  /** Pods under the names that people gave them. */
  #energy(): EnergySnapshot {
    const snapshot = this.#options.energy()
    const { attribution } = snapshot
    if (attribution === undefined) return snapshot
    const pods = attribution.pods.map((pod) => ({ ...pod, name: this.#podName(pod.uid) ?? pod.name }))
    return { ...snapshot, attribution: { ...attribution, pods } }
  }

  #pods(): PodDetail[] {
    const { core } = this.#options
    return core.objects.podObjects().flatMap(({ kind, key, object }) => {
      if (kind !== 'Pod') return []
      const { uid, spec, metadata } = object as LinkPod
      const status = core.pods?.get(key, uid)?.status
      const leaving = metadata.deletionTimestamp !== undefined
      return [podDetail({ ...splitKey(key), uid, leaving, containers: spec.containers, status })]
    })
  }

  #podName(uid: string): string | undefined {
    return this.#options.core.objects.podObjects().find(({ kind, object }) => kind === 'Pod' && object.uid === uid)?.key
  }

  #plan(key: string, query: URLSearchParams): PlanExplanation {
    const { core } = this.#options
    const binding = core.binding(key)
    const every = query.get('every')
    if (every !== null) durationMs(every)
    const property = query.get('property')
    const plan =
      every === null || binding === undefined
        ? core.mappers.explain(key)
        : core.mappers.explain(key, {
            ...binding,
            device: property === null ? { ...binding.device, poll: { ...binding.device.poll, every } } : binding.device,
            model: {
              ...binding.model,
              properties: binding.model.properties.map((each) =>
                each.name === property ? { ...each, poll: { ...each.poll, every } } : each,
              ),
            },
          })
    if (plan === undefined) throw new SluiceError('SLUICE_API_NOT_FOUND', `There is no read plan for ${key}`)
    return plan
  }

  #trial(body: Json | undefined) {
    const fields: Readonly<Record<string, unknown>> = typeof body === 'object' && body !== null ? { ...body } : {}
    const { device, model } = fields
    if (typeof device !== 'string' || typeof model !== 'object' || model === null) {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', "a trial needs a 'device' and a 'model'")
    }
    return this.#trials.run(device, model as Json)
  }
}

const PATH = /^(energy|energy\/series|pods|trial|plan\/[^/]+\/[^/]+)$/

/** Everything here is made of plain values. */
const json = <T>(value: T): Json => value as T & Json

async function openHere(
  podStream: (kind: string) => Promise<StreamHandler | undefined>,
  kind: 'logs' | 'exec',
  target: Json,
  signal: AbortSignal,
) {
  const handler = await podStream(kind)
  if (handler === undefined) throw new SluiceError('SLUICE_STREAM_KIND', `this gateway serves no ${kind}`)
  const [near, far] = loopbackStream()
  const over = new AbortController()
  void far.outcome.catch(() => {}).then(() => over.abort())
  signal.addEventListener('abort', () => near.fail(signal.reason), { once: true })
  handler({ kind, target, endpoint: far, ready: () => far.ready(), signal: over.signal }).then(
    (result) => far.done(result),
    (thrown: unknown) => far.fail(thrown),
  )
  await near.opened
  return near
}
