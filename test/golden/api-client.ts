import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'

export interface ApiRequest {
  readonly method?: string
  readonly path: string
  readonly accept?: string
  readonly contentType?: string
  /** Sent as it is when a string or bytes, as JSON otherwise. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface ApiAnswer {
  readonly status: number
  readonly type: string
  readonly warning: string | undefined
  readonly text: string
}

export interface WatchEvent {
  readonly type: string
  readonly object: { readonly [field: string]: unknown; readonly metadata: { readonly [field: string]: unknown } }
}

/** A plain HTTPS client, so that tests see what is really on the wire. */
export class ApiClient {
  readonly #base: URL
  readonly #agent: Agent

  constructor(base: string, tls: { readonly ca: string; readonly cert?: string; readonly key?: string }) {
    this.#base = new URL(base)
    this.#agent = new Agent({ keepAlive: true, maxSockets: 64, ...tls })
  }

  close(): void {
    this.#agent.destroy()
  }

  /** Opens a request and resolves with its answer's head; the caller reads the body. */
  open({
    method = 'GET',
    path,
    accept = 'application/json',
    contentType = 'application/json',
    body,
    headers = {},
  }: ApiRequest): Promise<IncomingMessage> {
    const data =
      body === undefined
        ? undefined
        : Buffer.isBuffer(body)
          ? body
          : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
    return new Promise((resolve, reject) => {
      const call = request(
        {
          hostname: this.#base.hostname,
          port: this.#base.port,
          path,
          method,
          agent: this.#agent,
          headers: {
            accept,
            ...headers,
            ...(data === undefined ? {} : { 'content-type': contentType, 'content-length': String(data.length) }),
          },
        },
        resolve,
      )
      call.on('error', reject)
      call.end(data)
    })
  }

  async call(options: ApiRequest): Promise<ApiAnswer> {
    const response = await this.open(options)
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk)
    return {
      status: response.statusCode ?? 0,
      type: (response.headers['content-type'] ?? '').replace(/;\s*charset=utf-8/i, ''),
      warning: response.headers.warning,
      text: Buffer.concat(chunks).toString('utf8'),
    }
  }

  /** Calls and parses; throws when the status is not one of the 2xx. */
  async json<T = Record<string, unknown>>(options: ApiRequest): Promise<T> {
    const answer = await this.call(options)
    if (answer.status >= 300)
      throw new Error(`${options.method ?? 'GET'} ${options.path}: ${answer.status} ${answer.text}`)
    return JSON.parse(answer.text)
  }

  /** The events of a watch, one by one, until the stream ends or the consumer stops. */
  async *watch(path: string, accept = 'application/json'): AsyncGenerator<WatchEvent> {
    const response = await this.open({ path, accept })
    let rest = ''
    try {
      for await (const chunk of response.setEncoding('utf8')) {
        const lines = (rest + chunk).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) if (line !== '') yield JSON.parse(line)
      }
    } finally {
      response.destroy()
    }
  }
}
