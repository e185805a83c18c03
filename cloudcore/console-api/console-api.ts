import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../api/clock.ts'
import type { ConsoleGate } from '../../api/console/gate.ts'
import { SluiceError } from '../../api/errors.ts'
import { sortable } from '../../api/natural-order.ts'
import { type Json, splitKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import { compareDesired, writeState } from '../../api/twin/twin.ts'
import type { DesiredAnswer, GatewayView, StreamEvent } from '../../api/views.ts'
import type { HubStore } from '../hub/store.ts'
import type { StreamFilter, StreamHub } from '../hub/stream.ts'
import type { TokenView } from '../join/registry.ts'
import type { DesireWriter } from '../twins/desire.ts'
import type { DeviceRecord } from '../twins/device-record.ts'
import type { Fleet } from '../twins/fleet.ts'
import type { TwinEngine } from '../twins/twin-engine.ts'
import { authenticate } from './access.ts'
import { serveEventStream } from './event-stream.ts'
import type { FleetRoutes } from './fleet-routes.ts'
import { readJson, sendError, sendJson } from './http.ts'
import { answeredMetrics, type MetricsRoutesOptions } from './metrics-routes.ts'
import { sendList } from './send-list.ts'
import { deviceView } from './views.ts'

export interface ConsoleApiOptions extends MetricsRoutesOptions {
  readonly fleet: Fleet
  readonly twins: TwinEngine
  readonly desire: DesireWriter
  readonly store: HubStore
  readonly stream: StreamHub
  readonly clock: Clock
  readonly bearerToken: () => string | undefined
  readonly createToken: (request: { gateway: string; ttlMs?: number }) => Promise<{
    token: string
    gateway: string
    expiresAt: string
  }>
  readonly tokens: () => readonly TokenView[]
  readonly revokeTokens: (idOrGateway: string) => number
  readonly revoke: (gateway: string) => number
  readonly gatewayNames: () => readonly string[]
  readonly gateway: (name: string) => GatewayView | undefined
  readonly gate: ConsoleGate
  readonly fleetRoutes: FleetRoutes
}

/** Who calls, and whether from a browser that signed in. */
interface Caller {
  readonly name: string
  readonly session: boolean
}

const MAX_BODY_BYTES = 256 * 1024
const MAX_WAIT_MS = 120_000

/** The HTTP API of the whole fleet (api/views.ts), and the administration of join tokens. */
export class ConsoleApi {
  readonly #options: ConsoleApiOptions

  constructor(options: ConsoleApiOptions) {
    this.#options = options
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { gate } = this.#options
    try {
      const path = (request.url ?? '/').split('?', 1)[0]!
      if (await gate.answered(request, response, path)) return
      // What comes with a token or a certificate is no browser's doing: it needs no CSRF word.
      const session = request.headers.authorization === undefined ? await gate.admit(request, path) : undefined
      const caller = session ?? authenticate(request, this.#options.bearerToken())
      gate.record(request, response, path, caller.name, session?.role)
      await this.#route(request, response, { name: caller.name, session: session !== undefined })
    } catch (thrown) {
      sendError(response, thrown)
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, caller: Caller): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://hub')
    const parts = url.pathname.split('/').filter((part) => part !== '')
    const path = parts.map(decode)
    const method = request.method ?? 'GET'
    const [first, second, third, fourth, fifth, sixth] = path
    if (await answeredMetrics(this.#options, request, response, path)) return
    if (first !== 'v1') throw notFound(url.pathname)
    if (await this.#options.fleetRoutes.answered(request, response, path, url, caller)) return
    if (second === 'devices') {
      if (path.length === 2) {
        this.#only(method, 'GET')
        return this.#devices(url, response)
      }
      const record = this.#record(`${third}/${fourth}`)
      if (path.length === 4) {
        this.#only(method, 'GET')
        return sendJson(response, 200, deviceView(record, this.#options.twins.context(record)))
      }
      if (path.length === 6 && fifth === 'desired') {
        this.#only(method, 'PUT')
        return this.#setDesired(request, response, url, record, sixth!, caller)
      }
    }
    if (second === 'events' && path.length === 2) {
      this.#only(method, 'GET')
      return this.#events(request, response, url)
    }
    if (second === 'models' && path.length === 2) {
      this.#only(method, 'GET')
      return this.#models(response)
    }
    if (second === 'gateways' && path.length === 2) {
      this.#only(method, 'GET')
      return sendList(response, this.#options.gatewayNames(), this.#options.gateway)
    }
    if (second === 'gateways' && path.length === 3) {
      this.#only(method, 'GET')
      const gateway = this.#options.gateway(third!)
      if (gateway === undefined) throw noGateway(third!)
      return sendJson(response, 200, gateway)
    }
    if (second === 'gateways' && path.length === 4 && fourth === 'revoke') {
      this.#only(method, 'POST')
      return sendJson(response, 200, { gateway: third, revoked: this.#options.revoke(third!) })
    }
    if (second === 'tokens' && path.length === 3) {
      this.#only(method, 'DELETE')
      return sendJson(response, 200, { revoked: this.#options.revokeTokens(third!) })
    }
    if (second === 'tokens' && path.length === 2) {
      if (method === 'GET') return sendJson(response, 200, { items: this.#options.tokens() })
      this.#only(method, 'POST')
      return this.#createToken(request, response)
    }
    throw notFound(url.pathname)
  }

  #devices(url: URL, response: ServerResponse): Promise<void> {
    const namespace = url.searchParams.get('namespace')
    const gateway = url.searchParams.get('gateway')
    const records = [...this.#options.fleet.devices.values()]
      .filter((record) => namespace === null || record.namespace === namespace)
      .filter((record) => gateway === null || record.gateway === gateway)
    const most = Number(url.searchParams.get('twins') ?? Number.POSITIVE_INFINITY)
    const limit = Number(url.searchParams.get('limit') ?? Number.POSITIVE_INFINITY)
    const view = (record: DeviceRecord) => deviceView(record, this.#options.twins.context(record), most)
    return sendList(response, inOrder(records).slice(0, limit), view, { total: records.length })
  }

  /** Models that devices use: what nobody uses is read from the Kubernetes API. */
  #models(response: ServerResponse): void {
    const { fleet } = this.#options
    const used = [...fleet.models.values()].filter(({ key }) => fleet.ofModel(key).size > 0)
    sendJson(response, 200, { items: used.map(({ key, spec }) => ({ ...splitKey(key), spec })) })
  }

  async #setDesired(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    record: DeviceRecord,
    property: string,
    caller: Caller,
  ): Promise<void> {
    const body = (await readJson(request, MAX_BODY_BYTES)) as { value?: Json; by?: unknown } | null
    if (typeof body !== 'object' || body === null || body.value === undefined || body.value === null) {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs a 'value' that is not null")
    }
    const waitText = url.searchParams.get('wait')
    const waitMs = waitText === null ? 0 : Math.min(MAX_WAIT_MS, durationMs(waitText))
    const model = this.#options.fleet.models.get(record.modelKey)
    const declared = model?.spec.properties.find((candidate) => candidate.name === property)
    if (declared === undefined) {
      throw new SluiceError('SLUICE_API_NOT_FOUND', `device ${record.key} has no property '${property}'`, {
        hint: `Its model '${record.spec.model}' has: ${model?.spec.properties.map((p) => p.name).join(', ') ?? 'nothing'}`,
      })
    }
    if ((declared.access ?? 'read') === 'read') {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', `property '${property}' of ${record.key} can only be read`)
    }
    const by = typeof body.by === 'string' && body.by !== '' ? body.by : caller.name
    await this.#options.desire.set(record, property, body.value, `sluice-console-${by}`)
    const version = record.properties.get(property)?.twin.desired?.version ?? 0
    const answer = await this.#outcome(record, property, body.value, version, waitMs, request)
    sendJson(response, 200, answer)
  }

  /** The state of the write, after waiting for its end for at most `waitMs`. */
  #outcome(
    record: DeviceRecord,
    property: string,
    value: Json,
    version: number,
    waitMs: number,
    request: IncomingMessage,
  ): Promise<DesiredAnswer> {
    const { twins, clock } = this.#options
    const answer = (): DesiredAnswer => {
      const base = { device: record.key, property, value }
      const twin = record.properties.get(property)?.twin
      if (twin?.desired === undefined || compareDesired(twin.desired, { version }) > 0) {
        return { ...base, state: 'rejected', reason: 'a newer value was set meanwhile' }
      }
      const away = twins.context(record).awaySinceMs !== undefined
      const state = writeState(twin, away) ?? 'pending'
      const reason = state === 'pending' ? undefined : twin.write?.reason
      return { ...base, state, ...(reason === undefined ? {} : { reason }) }
    }
    if (waitMs === 0 || answer().state !== 'pending') return Promise.resolve(answer())
    return new Promise((resolve) => {
      const finish = () => {
        timer.cancel()
        unwatch()
        request.socket.off('close', finish)
        resolve(answer())
      }
      const timer = clock.after(waitMs, finish)
      const unwatch = twins.watchDevice(record.key, () => {
        if (answer().state !== 'pending') finish()
      })
      request.socket.once('close', finish)
    })
  }

  #events(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const given = request.headers['last-event-id'] ?? url.searchParams.get('after') ?? undefined
    const after = given === undefined ? undefined : Number(given)
    if (after !== undefined && !(Number.isSafeInteger(after) && after >= 0)) {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', 'Last-Event-ID is not a cursor of this stream')
    }
    const { stream, store, clock } = this.#options
    serveEventStream({ response, stream, store, clock, filter: filterOf(url.searchParams), after })
  }

  async #createToken(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await readJson(request, MAX_BODY_BYTES)) as Record<string, unknown> | null
    const gateway = body?.['gateway']
    if (typeof gateway !== 'string') throw new SluiceError('SLUICE_API_BAD_REQUEST', "the body needs a 'gateway'")
    const ttl = body?.['ttl']
    const given = body?.['ttlMs']
    const ttlMs = typeof ttl === 'string' ? durationMs(ttl) : typeof given === 'number' ? given : undefined
    const made = await this.#options.createToken({ gateway, ...(ttlMs === undefined ? {} : { ttlMs }) })
    sendJson(response, 201, made)
  }

  #record(key: string): DeviceRecord {
    const record = this.#options.fleet.devices.get(key)
    if (record !== undefined) return record
    throw new SluiceError('SLUICE_API_NOT_FOUND', `there is no device ${key}`, { hint: 'List them: sluice device ls' })
  }

  #only(method: string, wanted: string): void {
    if (method === wanted || (method === 'HEAD' && wanted === 'GET')) return
    throw new SluiceError('SLUICE_API_METHOD', `${method} is not possible here, only ${wanted}`)
  }
}

/** As tables have them, so that the first page of them is the first page there. */
function inOrder(records: readonly DeviceRecord[]): DeviceRecord[] {
  const keyed = records.map((record) => ({ key: sortable(record.key), record }))
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ record }) => record)
}

const EVENT_KINDS = ['reported', 'write', 'reach', 'desired', 'gateway'] as const satisfies StreamEvent['kind'][]
const isKind = (text: string): text is StreamEvent['kind'] => (EVENT_KINDS as readonly string[]).includes(text)

function filterOf(query: URLSearchParams): StreamFilter {
  const device = query.get('device')
  const property = query.get('property')
  const kind = query.get('kind')
  const gateway = query.get('gateway')
  if (kind !== null && !isKind(kind)) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', `'${kind}' is no kind of event`, {
      hint: `Use one of ${EVENT_KINDS.join(', ')}.`,
    })
  }
  return {
    ...(device === null || device === '' ? {} : { device }),
    ...(property === null || property === '' ? {} : { property }),
    ...(kind === null ? {} : { kind }),
    ...(gateway === null || gateway === '' ? {} : { gateway }),
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', 'the path is not readable', { cause })
  }
}

const noGateway = (name: string) =>
  new SluiceError('SLUICE_API_NOT_FOUND', `there is no gateway ${name}`, { hint: 'List them: kubectl get gateways' })

const notFound = (path: string) => new SluiceError('SLUICE_API_NOT_FOUND', `there is nothing at ${path}`)
