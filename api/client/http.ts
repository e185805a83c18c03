import type { IncomingMessage } from 'node:http'
import { SluiceError } from '../errors.ts'

/**
 * Where an API answers: an agent's Unix socket or its loopback port (where writing needs the token), or a cloud core's
 * https address with the authority that signed its certificate.
 */
export type Endpoint =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'http'; readonly url: string; readonly token?: string }
  | { readonly kind: 'https'; readonly url: string; readonly caPem?: string; readonly token?: string }

export const endpointName = (endpoint: Endpoint): string =>
  endpoint.kind === 'https'
    ? `the cloud core at ${endpoint.url}`
    : `the agent at ${endpoint.kind === 'socket' ? endpoint.path : endpoint.url}`

export interface HttpCall {
  readonly method?: string
  readonly path: string
  readonly body?: unknown
  /** Sent as it is, instead of a JSON body. */
  readonly bytes?: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** Silence on the connection for this long is an error; 0 waits for ever. Default 15 000. */
  readonly idleTimeoutMs?: number
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024
/** Event streams say something every few seconds (15 s at most, of any version): after this the other side is gone. */
const SILENCE_MS = 20_000
const GONE = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'ENOTFOUND'])

/** Sends one request; resolves when the headers of the answer are there. Errors say which endpoint and what to do. */
export async function openRequest(endpoint: Endpoint, call: HttpCall): Promise<IncomingMessage> {
  // TLS takes a while to load, and a gateway's own socket does without.
  const { request: send } = endpoint.kind === 'https' ? await import('node:https') : await import('node:http')
  const payload = call.bytes ?? (call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body)))
  const type = call.bytes === undefined ? 'application/json' : 'application/octet-stream'
  const headers: Record<string, string | number> = {
    accept: 'application/json',
    ...call.headers,
    ...(payload === undefined ? {} : { 'content-type': type, 'content-length': payload.length }),
    ...(endpoint.kind !== 'socket' && endpoint.token !== undefined
      ? { authorization: `Bearer ${endpoint.token}` }
      : {}),
  }
  const options = { method: call.method ?? 'GET', headers, signal: call.signal, agent: false as const }
  return new Promise((resolve, reject) => {
    const request =
      endpoint.kind === 'socket'
        ? send({ ...options, socketPath: endpoint.path, path: call.path, host: 'localhost' }, resolve)
        : send(
            new URL(call.path, endpoint.url),
            { ...options, ...(endpoint.kind === 'http' || endpoint.caPem === undefined ? {} : { ca: endpoint.caPem }) },
            resolve,
          )
    request.on('error', (error: NodeJS.ErrnoException) => reject(explain(error, endpoint, call.signal)))
    request.setTimeout(call.idleTimeoutMs ?? 15_000, () => request.destroy(noAnswer(endpoint)))
    request.end(payload)
  })
}

const noAnswer = (endpoint: Endpoint): SluiceError =>
  new SluiceError('SLUICE_CLIENT_TIMEOUT', `No answer from ${endpointName(endpoint)}`, {
    hint: "'sluice doctor' says whether it is up and how busy this machine is.",
  })

function explain(error: NodeJS.ErrnoException, endpoint: Endpoint, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof SluiceError) return error
  const name = endpointName(endpoint)
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new SluiceError('SLUICE_CLIENT_PERMISSION', `No permission to talk to ${name}`, {
      hint: 'Run the command as the user that runs the agent, or join the group that owns the socket.',
      cause: error,
    })
  }
  if (error.code !== undefined && GONE.has(error.code)) {
    return new SluiceError('SLUICE_CLIENT_UNREACHABLE', `Nothing answers at ${name} (${error.code})`, {
      hint: "Start it with 'sluice up' or 'sluice agent', or name another one with --data or --cloud.",
      cause: error,
    })
  }
  return new SluiceError('SLUICE_CLIENT_UNREACHABLE', `Talking to ${name} failed: ${error.message}`, {
    hint: "'sluice doctor' checks certificates, clock and connection.",
    cause: error,
  })
}

export async function readBody(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES) {
      answer.destroy()
      throw new SluiceError('SLUICE_CLIENT_ANSWER', `The answer is larger than ${MAX_ANSWER_BYTES} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** The error an API answered with, `{code, message, hint}`, or one made from the status. */
export function answeredError(status: number, body: string, endpoint: Endpoint): SluiceError {
  const given = parseObject(body)
  const { code, message, hint } = given ?? {}
  if (typeof code === 'string' && typeof message === 'string') {
    return new SluiceError(code, message, typeof hint === 'string' ? { hint } : {})
  }
  const words = typeof message === 'string' ? message : `status ${status}`
  if (status === 401 || status === 403) {
    return new SluiceError('SLUICE_CLIENT_FORBIDDEN', `${endpointName(endpoint)} refused the request: ${words}`, {
      hint: 'The token in cloud.json may be old: start the cloud core again, or copy its folder once more.',
    })
  }
  if (status === 404) return new SluiceError('SLUICE_CLIENT_NOT_FOUND', `${endpointName(endpoint)} has no such thing`)
  return new SluiceError('SLUICE_CLIENT_ANSWER', `${endpointName(endpoint)} answered: ${words}`)
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** One JSON request and answer. */
export async function requestJson<T>(endpoint: Endpoint, call: HttpCall): Promise<T> {
  const answer = await openRequest(endpoint, call)
  const body = await readBody(answer)
  const status = answer.statusCode ?? 0
  if (status >= 300) throw answeredError(status, body, endpoint)
  if (body === '') return undefined as T
  try {
    return JSON.parse(body) as T
  } catch (cause) {
    throw new SluiceError('SLUICE_CLIENT_ANSWER', `${endpointName(endpoint)} answered something that is not JSON`, {
      hint: 'Is something else listening there?',
      cause,
    })
  }
}

/** One block of a `text/event-stream`; `type` is its `event:` field, absent for ordinary data. */
export interface ServerEvent<T> {
  readonly id: string | undefined
  readonly type: string | undefined
  readonly data: T
}

/**
 * The events of a `text/event-stream`, data parsed as JSON. Ends when the server or the signal ends it; throws
 * SLUICE_CLIENT_TIMEOUT when the server says nothing at all for 20 s. `opened` is called when the server has begun to send:
 * whatever happens from then on will be told.
 */
export async function* requestEvents<T>(
  endpoint: Endpoint,
  call: HttpCall,
  opened: () => void = () => {},
): AsyncGenerator<ServerEvent<T>> {
  const answer = await openRequest(endpoint, {
    ...call,
    headers: { ...call.headers, accept: 'text/event-stream' },
  })
  if ((answer.statusCode ?? 0) >= 300) throw answeredError(answer.statusCode ?? 0, await readBody(answer), endpoint)
  answer.setTimeout(0)
  opened()
  answer.setEncoding('utf8')
  let rest = ''
  try {
    for await (const chunk of heard(answer, endpoint)) {
      rest += chunk
      let end = rest.indexOf('\n\n')
      while (end >= 0) {
        const event = parseEvent<T>(rest.slice(0, end))
        rest = rest.slice(end + 2)
        if (event !== undefined) yield event
        end = rest.indexOf('\n\n')
      }
      if (rest.length > MAX_ANSWER_BYTES) throw new SluiceError('SLUICE_CLIENT_ANSWER', 'An event is too large')
    }
  } catch (error) {
    if (call.signal.aborted) return
    throw error instanceof SluiceError ? error : explain(error as NodeJS.ErrnoException, endpoint, call.signal)
  } finally {
    answer.destroy()
  }
}

/**
 * What comes, until nothing came for too long: a machine that froze, or a router that forgot the connection, ends nothing.
 * Counted only while somebody waits for more: whoever takes their time is not the silence of the other side.
 */
async function* heard(answer: IncomingMessage, endpoint: Endpoint): AsyncGenerator<string> {
  const chunks = (answer as AsyncIterable<string>)[Symbol.asyncIterator]()
  for (;;) {
    const silence = setTimeout(() => answer.destroy(noAnswer(endpoint)), SILENCE_MS)
    const next = await chunks.next().finally(() => clearTimeout(silence))
    if (next.done === true) return
    yield next.value
  }
}

function parseEvent<T>(block: string): ServerEvent<T> | undefined {
  let id: string | undefined
  let type: string | undefined
  const data: string[] = []
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith('data:')) data.push(line.slice(5).trimStart())
    else if (line.startsWith('id:')) id = line.slice(3).trim()
    else if (line.startsWith('event:')) type = line.slice(6).trim()
  }
  return data.length === 0 ? undefined : { id, type, data: JSON.parse(data.join('\n')) as T }
}
