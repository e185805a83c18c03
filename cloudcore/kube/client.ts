import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Duplex } from 'node:stream'
import { SluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import type { KubeConfig } from './config.ts'
import { kubeAnswerError, kubeUnreachable } from './errors.ts'

export type PatchType = 'merge' | 'apply' | 'json' | 'strategic'

const PATCH_CONTENT: Readonly<Record<PatchType, string>> = {
  merge: 'application/merge-patch+json',
  apply: 'application/apply-patch+yaml',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
}

/** Query parameters; undefined ones are left out. */
export type KubeQuery = Readonly<Record<string, string | number | boolean | undefined>>

export interface CallOptions {
  readonly query?: KubeQuery
  readonly signal?: AbortSignal
  /** The whole exchange, connecting included. Default 30 s. */
  readonly timeoutMs?: number
  /** Answer with the object's metadata alone: a large object need not travel back to whoever wrote it. */
  readonly metadataOnly?: boolean
}

export interface KubeList<T> {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string }
  readonly items: readonly T[]
}

interface Sending {
  readonly body?: string | undefined
  readonly contentType?: string | undefined
  readonly query?: KubeQuery | undefined
  readonly signal: AbortSignal
  readonly headersTimeoutMs?: number
  readonly accept?: string
  /** On a connection of its own. */
  readonly apart?: boolean
}

const DEFAULT_TIMEOUT_MS = 30_000
const HEADERS_TIMEOUT_MS = 30_000
const MAX_REFUSAL_BYTES = 1_000_000
const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json'
/** Answers beyond this are refused: a list page of 500 large objects stays well below. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/**
 * A small Kubernetes client over keep-alive connections. Refusals are SluiceErrors with codes
 * SLUICE_KUBE_NOT_FOUND, _EXISTS, _CONFLICT, _EXPIRED (410), _FORBIDDEN, _REFUSED (other 4xx), _UNAVAILABLE (429, 5xx)
 * and _UNREACHABLE (no answer).
 */
export class KubeClient implements AsyncDisposable {
  readonly server: string
  readonly #config: KubeConfig
  readonly #agent: HttpAgent | HttpsAgent
  readonly #base: URL
  readonly #request: typeof httpRequest | typeof httpsRequest
  readonly #tls: {
    readonly ca?: string
    readonly cert?: string
    readonly key?: string
    readonly rejectUnauthorized: boolean
  }

  constructor(config: KubeConfig, options: { readonly maxSockets?: number } = {}) {
    this.#config = config
    this.server = config.server
    this.#base = new URL(config.server)
    const pool = { keepAlive: true, maxSockets: options.maxSockets ?? 48, scheduling: 'lifo' as const }
    const secure = this.#base.protocol === 'https:'
    this.#request = secure ? httpsRequest : httpRequest
    this.#tls = {
      ...(config.caPem === undefined ? {} : { ca: config.caPem }),
      ...(config.certPem === undefined ? {} : { cert: config.certPem }),
      ...(config.keyPem === undefined ? {} : { key: config.keyPem }),
      ...{ rejectUnauthorized: config.insecureSkipVerify !== true },
    }
    this.#agent = secure ? new HttpsAgent({ ...pool, ...this.#tls }) : new HttpAgent(pool)
  }

  get<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('GET', path, undefined, undefined, options)
  }

  create<T>(path: string, body: object, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('POST', path, JSON.stringify(body), 'application/json', options)
  }

  replace<T>(path: string, body: object, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('PUT', path, JSON.stringify(body), 'application/json', options)
  }

  patch<T>(path: string, type: PatchType, body: object, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('PATCH', path, JSON.stringify(body), PATCH_CONTENT[type], options)
  }

  delete(path: string, options: CallOptions & { readonly body?: { readonly [key: string]: Json } } = {}) {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body)
    return this.#call<unknown>('DELETE', path, body, 'application/json', options)
  }

  /** One page of a list; pass the answer's `metadata.continue` for the next. */
  list<T>(path: string, options: CallOptions = {}): Promise<KubeList<T>> {
    return this.get<KubeList<T>>(path, options)
  }

  /** Opens a streaming answer (a watch). The caller reads and destroys it; aborting the signal destroys it too. */
  async stream(path: string, query: KubeQuery, signal: AbortSignal, headersTimeoutMs = HEADERS_TIMEOUT_MS) {
    return this.#opened(path, { query, signal, headersTimeoutMs })
  }

  /** As `stream`, on a connection of its own: for many that stay open for long, and must not take those of other calls. */
  async streamApart(path: string, query: KubeQuery, signal: AbortSignal) {
    return this.#opened(path, { query, signal, headersTimeoutMs: HEADERS_TIMEOUT_MS, apart: true })
  }

  /**
   * Asks for SPDY/3.1 with a protocol of Kubernetes in it (`v4.channel.k8s.io`, `portforward.k8s.io`) and gives the bare
   * connection, which is the caller's to destroy. Aborting the signal ends the asking only.
   */
  upgrade(path: string, query: URLSearchParams, protocol: string, signal: AbortSignal): Promise<Duplex> {
    const target = `${path}?${query}`
    const { headers, ...options } = this.#options('POST', target, { signal, apart: true })
    const upgrading = {
      ...{ connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': protocol, 'content-length': 0 },
    }
    return new Promise((resolve, reject) => {
      const { signal: _, ...unsigned } = options
      const request = this.#request({ ...unsigned, headers: { ...headers, ...upgrading } })
      const abort = () => request.destroy(new Error('nobody wants it any more'))
      const settle = () => signal.removeEventListener('abort', abort)
      request.setTimeout(HEADERS_TIMEOUT_MS, () => request.destroy(new Error('no answer in time')))
      request.once('upgrade', (_answer, socket: Duplex, head: Buffer) => {
        settle()
        request.setTimeout(0)
        if (head.length > 0) socket.unshift(head)
        resolve(socket)
      })
      request.once('response', (answer) => {
        settle()
        const refused = (body: string) => reject(kubeAnswerError('POST', path, answer.statusCode ?? 0, body))
        readAll(answer, MAX_REFUSAL_BYTES).then(refused, () => refused(''))
      })
      request.once('error', (error) => {
        settle()
        reject(kubeUnreachable(this.server, error))
      })
      signal.addEventListener('abort', abort, { once: true })
      request.end()
      if (signal.aborted) abort()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy()
  }

  async #call<T>(
    method: string,
    path: string,
    body: string | undefined,
    contentType: string | undefined,
    options: CallOptions,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout])
    const accept = options.metadataOnly === true ? METADATA_ONLY : 'application/json'
    const answer = await this.#send(method, path, { body, contentType, query: options.query, signal, accept })
    let text: string
    try {
      text = await readAll(answer, MAX_ANSWER_BYTES)
    } catch (cause) {
      if (cause instanceof SluiceError) throw cause
      throw kubeUnreachable(this.server, cause)
    }
    const status = answer.statusCode ?? 0
    if (status < 200 || status > 299) throw kubeAnswerError(method, path, status, text)
    try {
      return JSON.parse(text) as T
    } catch (cause) {
      throw new SluiceError('SLUICE_KUBE_BAD_ANSWER', `${method} ${path}: the answer is not JSON`, { cause })
    }
  }

  async #opened(path: string, sending: Sending): Promise<IncomingMessage> {
    const answer = await this.#send('GET', path, sending)
    if (answer.statusCode === 200) return answer
    const body = await readAll(answer, MAX_REFUSAL_BYTES)
    throw kubeAnswerError('GET', path, answer.statusCode ?? 0, body)
  }

  #options(method: string, target: string, sending: Sending): RequestOptions {
    const { body, contentType = 'application/json', signal, accept = 'application/json', apart } = sending
    const token = this.#config.token?.()
    return {
      method,
      host: this.#base.hostname.replace(/^\[|\]$/g, ''),
      port: this.#base.port || (this.#base.protocol === 'https:' ? 443 : 80),
      path: this.#base.pathname.replace(/\/$/, '') + target,
      ...(apart === true ? { ...this.#tls, agent: false } : { agent: this.#agent }),
      signal,
      headers: {
        accept,
        'user-agent': 'sluice-cloudcore',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        // Without a length Node sends DELETE bodies in a way that corrupts the next request on the connection.
        ...(body === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(body) }),
      },
    }
  }

  #send(method: string, path: string, sending: Sending): Promise<IncomingMessage> {
    const { body, signal, headersTimeoutMs } = sending
    const options = this.#options(method, path + queryText(sending.query), sending)
    const attempt = (mayRetry: boolean): Promise<IncomingMessage> =>
      new Promise((resolve, reject) => {
        const request = this.#request(options, (answer) => {
          request.setTimeout(0)
          resolve(answer)
        })
        if (headersTimeoutMs !== undefined) {
          request.setTimeout(headersTimeoutMs, () => request.destroy(new Error('no answer in time')))
        }
        request.on('error', (error: NodeJS.ErrnoException) => {
          // A kept-alive connection that the server closed in the same instant: nothing was processed.
          const lost = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
          if (lost && mayRetry && !signal.aborted) return resolve(attempt(false))
          reject(kubeUnreachable(this.server, error))
        })
        request.end(body)
      })
    return attempt(method === 'GET' || method === 'PATCH')
  }
}

function queryText(query: KubeQuery | undefined): string {
  if (query === undefined) return ''
  const params = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) params.set(key, String(value))
  const text = params.toString()
  return text === '' ? '' : `?${text}`
}

async function readAll(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) {
      answer.destroy()
      throw new SluiceError('SLUICE_KUBE_BAD_ANSWER', `the Kubernetes API answered more than ${maxBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return chunks.length === 1 ? chunks[0]!.toString('utf8') : Buffer.concat(chunks).toString('utf8')
}
