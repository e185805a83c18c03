import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../api/clock.ts'
import { isRole, ROLES, type Role } from '../../api/console/roles.ts'
import { SluiceError } from '../../api/errors.ts'
import type { NoticeItem } from '../../api/link/notices.ts'
import { isSightedItem, type SightedItem } from '../../api/link/sighted.ts'
import { type Json, objectKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { DesiredAnswer, GatewayView, ModelView, NoticeView } from '../../api/views.ts'
import type { LinkStats, PlanExplanation } from '../../mappers/sdk/mapper.ts'
import type { DeviceState } from '../twin/device-state.ts'
import { deviceView } from '../twin/views.ts'
import { unknownDevice } from '../twin/writable-property.ts'
import type { ConsoleInvitation } from './console.ts'
import type { EventStream } from './event-stream.ts'
import { answer, type Handler } from './server.ts'
import { answerVitals, type VitalRoutes } from './vital-routes.ts'

export interface RoutesOptions {
  readonly clock: Clock
  readonly gateway: string
  readonly devices: ReadonlyMap<string, DeviceState>
  readonly events: EventStream
  readonly notices: () => readonly NoticeItem[]
  readonly discovered: () => readonly SightedItem[]
  /** Takes what somebody else at the gateway saw: a scan. */
  readonly sighted: (protocol: string, items: readonly SightedItem[]) => void
  readonly desire: (key: string, property: string, value: Json, by: string | undefined) => void
  readonly onEnded: (key: string, property: string, wake: () => void) => () => void
  readonly models: () => Iterable<ModelView>
  readonly gatewayView: () => GatewayView
  readonly links: () => readonly LinkStats[]
  readonly explain: (key: string) => PlanExplanation | undefined
  readonly health: () => { readonly ok: boolean } & Readonly<Record<string, Json>>
  readonly metrics: () => string
  readonly vitals?: VitalRoutes
  /** Opens the console's own port when it is not open yet, and gives a code that signs in there. */
  readonly console?: (role: Role, name: string, port: number | undefined) => Promise<ConsoleInvitation>
}

const MAX_BODY_BYTES = 256 * 1024
const MAX_WAIT_MS = 300_000

/** The routes of `api/views.ts` as a gateway answers them. */
export function localRoutes(options: RoutesOptions): Handler {
  const deviceOf = (namespace: string, name: string) => {
    const key = objectKey(namespace, name)
    const device = options.devices.get(key)
    if (device === undefined) throw unknownDevice(key)
    return device
  }

  return async (request, response, url) => {
    const parts = url.pathname
      .split('/')
      .filter((part) => part !== '')
      .map(decode)
    const [first, second, namespace = '', name = '', fifth, property = ''] = parts
    const path = first === 'v1' ? second : `/${first}`
    if (path === 'devices' && parts.length === 6 && fifth === 'desired') {
      allow(request, 'PUT')
      await setDesired(options, request, response, url, deviceOf(namespace, name).key, property)
      return
    }
    if (path === 'discovered' && parts.length === 2 && request.method === 'POST') {
      answer(response, 200, { taken: await takeSighted(options, request) })
      return
    }
    if (path === 'console' && parts.length === 2 && options.console !== undefined) {
      allow(request, 'POST')
      answer(response, 200, await invite(options.console, request))
      return
    }
    const { vitals } = options
    if (vitals !== undefined) {
      const body = () => readBody(request, 'Send a JSON object.')
      if (await answerVitals(vitals, request, response, parts, url.searchParams, body)) return
    }
    allow(request, 'GET')
    if (path === 'devices' && parts.length === 2) {
      answer(response, 200, {
        items: [...options.devices.values()].map((device) => deviceView(device, options.gateway)),
      })
    } else if (path === 'devices' && parts.length === 4) {
      answer(response, 200, deviceView(deviceOf(namespace, name), options.gateway))
    } else if (path === 'plan' && parts.length === 4) {
      const plan = options.explain(deviceOf(namespace, name).key)
      if (plan === undefined) throw notFound(`There is no read plan for ${namespace}/${name}`)
      answer(response, 200, plan)
    } else if (path === 'discovered' && parts.length === 2) answer(response, 200, { items: options.discovered() })
    else if (path === 'models' && parts.length === 2) answer(response, 200, { items: [...options.models()] })
    else if (path === 'gateways' && parts.length === 2) answer(response, 200, { items: [options.gatewayView()] })
    else if (path === 'notices' && parts.length === 2) {
      answer(response, 200, { items: options.notices().map(noticeView) })
    } else if (path === 'links' && parts.length === 2) answer(response, 200, { items: options.links() })
    else if (path === 'events' && parts.length === 2) options.events.open(request, response, url.searchParams)
    else if (path === '/healthz') {
      const health = options.health()
      answer(response, health.ok ? 200 : 503, health)
    } else if (path === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
      response.end(options.metrics())
    } else throw notFound(`There is nothing at ${url.pathname}`)
  }
}

export const noticeView = ({ id: _, firstMs, lastMs, ...item }: NoticeItem): NoticeView => ({
  ...item,
  firstAt: new Date(firstMs).toISOString(),
  lastAt: new Date(lastMs).toISOString(),
})

async function setDesired(
  options: RoutesOptions,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  key: string,
  property: string,
): Promise<void> {
  const wait = url.searchParams.get('wait')
  const waitMs = wait === null ? 0 : Math.min(durationMs(wait), MAX_WAIT_MS)
  const { value, by } = await readDesire(request)
  let wake = () => {}
  const ended = new Promise<void>((resolve) => {
    wake = resolve
  })
  // Listening starts before the write does, so that a quick end is not missed.
  const unsubscribe = options.onEnded(key, property, () => {
    if (viewOf().state !== 'pending') wake()
  })
  const viewOf = () => {
    const device = options.devices.get(key)
    if (device === undefined) throw unknownDevice(key)
    return deviceView(device, options.gateway).twins.find(({ name }) => name === property)!
  }
  try {
    options.desire(key, property, value, by)
    if (waitMs > 0) {
      const timer = options.clock.after(waitMs, wake)
      response.once('close', wake)
      await ended
      timer.cancel()
    }
  } finally {
    unsubscribe()
  }
  const { state = 'pending', stateReason } = viewOf()
  const body: DesiredAnswer = {
    device: key,
    property,
    value,
    state,
    ...(stateReason === undefined ? {} : { reason: stateReason }),
  }
  answer(response, 200, body)
}

async function takeSighted(options: RoutesOptions, request: IncomingMessage): Promise<number> {
  const hint = 'Send {"items": [...]}, each as GET /v1/discovered shows it.'
  const body = await readBody(request, hint)
  const items: unknown = typeof body === 'object' && body !== null && 'items' in body ? body.items : undefined
  if (!Array.isArray(items) || !items.every(isSightedItem)) throw badBody("has no 'items' of sightings", hint)
  for (const item of items) options.sighted(item.protocol, [item])
  return items.length
}

async function invite(
  open: NonNullable<RoutesOptions['console']>,
  request: IncomingMessage,
): Promise<ConsoleInvitation> {
  const hint = `Send {"role": "operator"}, with an optional "name" and "port". Roles: ${ROLES.join(', ')}.`
  const body = await readBody(request, hint)
  const words: Readonly<Record<string, unknown>> = typeof body === 'object' && body !== null ? { ...body } : {}
  const { role = 'operator', name = 'local', port } = words
  if (!isRole(role)) throw badBody("has a 'role' that there is not", hint)
  if (typeof name !== 'string' || name === '' || name.length > 64)
    throw badBody("has a 'name' that is no short text", hint)
  if (port !== undefined && !(Number.isInteger(port) && Number(port) >= 0 && Number(port) < 65_536)) {
    throw badBody("has a 'port' that is none", hint)
  }
  return open(role, name, port === undefined ? undefined : Number(port))
}

async function readDesire(request: IncomingMessage): Promise<{ value: Json; by: string | undefined }> {
  const hint = 'Send {"value": 21.5} with an optional "by".'
  const body = await readBody(request, hint)
  if (typeof body !== 'object' || body === null || !('value' in body)) throw badBody("has no 'value'", hint)
  const by = 'by' in body ? body.by : undefined
  if (by !== undefined && (typeof by !== 'string' || by.length > 128)) {
    throw badBody("has a 'by' that is no short text", hint)
  }
  return { value: body.value as Json, by }
}

/** Reads a JSON body of at most 256 KiB. Throws SLUICE_API_TOO_LARGE, SLUICE_API_BAD_REQUEST. */
export async function readBody(request: IncomingMessage, hint: string): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  // What is too large is answered, and its rest thrown away: the connection goes on.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) break
    chunks.push(chunk)
  }
  if (bytes > MAX_BODY_BYTES) {
    request.resume()
    throw new SluiceError('SLUICE_API_TOO_LARGE', `The request has more than ${MAX_BODY_BYTES} bytes`, {
      hint: 'Send a smaller value, or fewer items at a time.',
    })
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch (cause) {
    throw badBody('is not JSON', hint, cause)
  }
}

function badBody(what: string, hint: string, cause?: unknown): SluiceError {
  return new SluiceError('SLUICE_API_BAD_REQUEST', `The request body ${what}`, { hint, cause })
}

function allow(request: IncomingMessage, method: string): void {
  if (request.method === method || (method === 'GET' && request.method === 'HEAD')) return
  throw new SluiceError('SLUICE_API_METHOD', `${request.method} is not possible here`, { hint: `Use ${method}.` })
}

function notFound(message: string): SluiceError {
  return new SluiceError('SLUICE_API_NOT_FOUND', message, { hint: 'The routes are listed in the documentation.' })
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
