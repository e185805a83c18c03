import type { WorkView } from '../console/work.ts'
import { type Json, splitKey } from '../resources.ts'
import type {
  DesiredAnswer,
  DeviceView,
  GatewayView,
  LinkStats,
  ModelView,
  PlanExplanation,
  StreamEvent,
} from '../views.ts'
import { type Endpoint, requestEvents, requestJson } from './http.ts'

/** Changes of a stream; `missed` says that some before them were lost because this reader was away or too slow. */
export interface ChangeBatch {
  /** Cursor to resume after. */
  readonly id: string | undefined
  readonly missed: boolean
  /** What comes from here on is happening now. */
  readonly live?: true
  readonly events: readonly StreamEvent[]
}

/** Part of an agent's `/healthz`. */
export interface HubLinkView {
  readonly connected: boolean
  readonly url: string
  readonly reason?: string
}

/** The `/v1` API, which the agent and the cloud core answer alike. Times are RFC 3339. */
export class DeviceApi {
  readonly endpoint: Endpoint
  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
  }

  async devices(signal: AbortSignal): Promise<readonly DeviceView[]> {
    const { items } = await requestJson<{ items: DeviceView[] }>(this.endpoint, { path: '/v1/devices', signal })
    return items
  }

  async models(signal: AbortSignal): Promise<readonly ModelView[]> {
    return (await requestJson<{ items: ModelView[] }>(this.endpoint, { path: '/v1/models', signal })).items
  }

  async gateways(signal: AbortSignal): Promise<readonly GatewayView[]> {
    return (await requestJson<{ items: GatewayView[] }>(this.endpoint, { path: '/v1/gateways', signal })).items
  }

  device(key: string, signal: AbortSignal): Promise<DeviceView> {
    return requestJson<DeviceView>(this.endpoint, { path: `/v1/devices/${keyPath(key)}`, signal })
  }

  /** Writes one desired value; with `waitMs` the answer comes when the write has ended or the time is over. */
  setDesired(
    key: string,
    property: string,
    value: Json,
    options: { by: string; waitMs: number; signal: AbortSignal },
  ): Promise<DesiredAnswer> {
    const wait = options.waitMs > 0 ? `?wait=${options.waitMs}ms` : ''
    return requestJson<DesiredAnswer>(this.endpoint, {
      method: 'PUT',
      path: `/v1/devices/${keyPath(key)}/desired/${encodeURIComponent(property)}${wait}`,
      body: { value, by: options.by },
      signal: options.signal,
      idleTimeoutMs: options.waitMs + 15_000,
    })
  }

  /** What was seen and is no device yet: `SightedItem`s of an agent, `DiscoveredDevice`s of a cloud core. */
  async discovered(signal: AbortSignal): Promise<readonly Json[]> {
    return (await requestJson<{ items: Json[] }>(this.endpoint, { path: '/v1/discovered', signal })).items
  }

  /** Of a cloud core: what runs where. */
  work(signal: AbortSignal): Promise<WorkView> {
    return requestJson<WorkView>(this.endpoint, { path: '/v1/work', signal })
  }

  /** Of a cloud core: has a pod moved. Throws SLUICE_OFFLOAD_REFUSED with what speaks against it. */
  offload(pod: string, to: string, signal: AbortSignal): Promise<{ readonly pod: string; readonly gateway: string }> {
    const path = `/v1/pods/${keyPath(pod)}/offload`
    return requestJson(this.endpoint, { method: 'POST', path, body: { to }, signal })
  }

  plan(key: string, signal: AbortSignal): Promise<PlanExplanation> {
    return requestJson<PlanExplanation>(this.endpoint, { path: `/v1/plan/${keyPath(key)}`, signal })
  }

  /** How the agent's link to its hub is; null when it has none. */
  async hub(signal: AbortSignal): Promise<HubLinkView | null> {
    const { hub } = await requestJson<{ hub?: HubLinkView | null }>(this.endpoint, { path: '/healthz', signal })
    return hub ?? null
  }

  async links(signal: AbortSignal): Promise<readonly LinkStats[]> {
    const { items } = await requestJson<{ items: LinkStats[] }>(this.endpoint, { path: '/v1/links', signal })
    return items
  }

  async *events(
    filter: { device?: string; property?: string; kind?: string },
    signal: AbortSignal,
    after?: string,
    opened?: () => void,
  ): AsyncGenerator<ChangeBatch> {
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== undefined))
    const call = {
      path: `/v1/events${query.size === 0 ? '' : `?${query}`}`,
      signal,
      ...(after === undefined ? {} : { headers: { 'last-event-id': after } }),
    }
    const stream = requestEvents<StreamEvent | StreamEvent[]>(this.endpoint, call, opened)
    for await (const { id, type, data } of stream) {
      if (type === undefined) yield { id, missed: false, events: Array.isArray(data) ? data : [data] }
      else if (type === 'open') yield { id, missed: false, live: true, events: [] }
      else yield { id, missed: true, events: [] }
    }
  }
}

const keyPath = (key: string): string => {
  const { namespace, name } = splitKey(key)
  return `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`
}
