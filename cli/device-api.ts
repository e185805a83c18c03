import { existsSync, readFileSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import { type Json, splitKey } from '../api/resources.ts'
import type { DesiredAnswer, DeviceView, StreamEvent } from '../api/views.ts'
import type { LinkStats, PlanExplanation } from '../mappers/sdk/mapper.ts'
import { type Endpoint, requestEvents, requestJson } from './http.ts'
import type { OptionSpecs } from './verb.ts'

/** Options of every verb that talks to a running agent or cloud core. */
export const TARGET_OPTIONS = {
  data: { kind: 'text', value: 'DIR', help: 'Folder of the agent or cloud core (also: SLUICE_DATA).' },
  cloud: { kind: 'flag', help: 'Ask the cloud core although an agent runs here.' },
} as const satisfies OptionSpecs

export const DEFAULT_DATA = '.sluice'

export const dataFolder = (given: string | undefined, env: Readonly<Record<string, string | undefined>>): string =>
  resolve(given ?? env['SLUICE_DATA'] ?? DEFAULT_DATA)

export const socketPath = (data: string): string => join(data, 'agent.sock')
export const cloudFile = (data: string): string => join(data, 'cloud.json')

/** Changes of a stream; `missed` says that some before them were lost because this reader was away or too slow. */
export interface ChangeBatch {
  /** Cursor to resume after. */
  readonly id: string | undefined
  readonly missed: boolean
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
  ): AsyncGenerator<ChangeBatch> {
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== undefined))
    const stream = requestEvents<StreamEvent | StreamEvent[]>(this.endpoint, {
      path: `/v1/events${query.size === 0 ? '' : `?${query}`}`,
      signal,
      ...(after === undefined ? {} : { headers: { 'last-event-id': after } }),
    })
    for await (const { id, type, data } of stream) {
      if (type === undefined) yield { id, missed: false, events: Array.isArray(data) ? data : [data] }
      else yield { id, missed: type !== 'open', events: [] }
    }
  }
}

const keyPath = (key: string): string => {
  const { namespace, name } = splitKey(key)
  return `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`
}

/** `name` is `default/name`; `namespace/name` stays. */
export function deviceKey(text: string): string {
  const parts = text.replace(/^device\//, '').split('/')
  const [namespace, name] = parts.length === 1 ? ['default', parts[0]] : parts
  const valid = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
  if (parts.length > 2 || !valid.test(namespace ?? '') || !valid.test(name ?? '')) {
    throw new SluiceError('SLUICE_CLI_DEVICE_NAME', `'${text}' is no device name`, {
      hint: "Write NAME or NAMESPACE/NAME; 'sluice device ls' lists them.",
    })
  }
  return `${namespace}/${name}`
}

/** The cloud core as its own file in the data folder describes it. */
export function cloudEndpoint(data: string): Endpoint {
  const file = cloudFile(data)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SluiceError('SLUICE_CLI_NO_CLOUD_FILE', `There is no readable ${file}`, {
      hint: "Start the cloud core with 'sluice up' or 'sluice cloud', or name its folder with --data DIR.",
      cause,
    })
  }
  const url = field(text, ['consoleUrl', 'url'])
  if (url === undefined) {
    throw new SluiceError('SLUICE_CLI_CLOUD_FILE_INVALID', `${file} names no console address`, {
      hint: 'Start the cloud core once more; it writes the file anew.',
    })
  }
  const token = field(text, ['token']) ?? fileNamed(text, 'tokenFile', file)
  const caPem = field(text, ['caPem']) ?? fileNamed(text, 'caFile', file)
  return {
    kind: 'https',
    url,
    ...(token === undefined ? {} : { token: token.trim() }),
    ...(caPem === undefined ? {} : { caPem }),
  }
}

function field(text: string, names: readonly string[]): string | undefined {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof content !== 'object' || content === null) return undefined
  for (const name of names) {
    const value = (content as Record<string, unknown>)[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

function fileNamed(text: string, name: string, beside: string): string | undefined {
  const path = field(text, [name])
  return path === undefined ? undefined : readFileSync(isAbsolute(path) ? path : join(dirname(beside), path), 'utf8')
}

/** The agent of this folder when it is there, else the cloud core. */
export function openDeviceApi(
  options: { readonly data: string | undefined; readonly cloud: boolean },
  env: Readonly<Record<string, string | undefined>>,
): DeviceApi {
  const data = dataFolder(options.data, env)
  const socket = socketPath(data)
  if (!options.cloud && existsSync(socket)) return new DeviceApi({ kind: 'socket', path: socket })
  if (options.cloud || existsSync(cloudFile(data))) return new DeviceApi(cloudEndpoint(data))
  throw new SluiceError('SLUICE_CLI_API_UNREACHABLE', `Neither an agent nor a cloud core keeps its data in ${data}`, {
    hint: "Start both with 'sluice up', or name their folder: --data DIR.",
  })
}
