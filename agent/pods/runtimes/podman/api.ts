import { existsSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SluiceError } from '../../../../api/errors.ts'

/** The oldest that has everything that is used here; newer ones still answer to it. */
const VERSION = '/v4.0.0/libpod'
const MAX_ANSWER_BYTES = 16 * 1024 * 1024
const CALL_MS = 120_000

export type Words = Readonly<Record<string, unknown>>

/** What podman did not want to do. */
export class Refused extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export interface CallOptions {
  readonly signal: AbortSignal
  readonly body?: unknown
  /** Bytes instead of `body`. */
  readonly upload?: Readable | Buffer
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

/** podman's own REST interface (libpod) over its Unix socket. */
export class PodmanApi implements Disposable {
  readonly socket: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32, timeout: 30_000 })

  constructor(socket: string) {
    this.socket = socket
  }

  /** Rejects with `Refused`, with `SLUICE_POD_RUNTIME_*` when it does not answer, or with the signal's reason. */
  async call(method: string, path: string, options: CallOptions): Promise<unknown> {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs ?? CALL_MS)])
    const answer = await this.#ask(method, path, { ...options, signal })
    const text = await bodyOf(answer)
    const status = answer.statusCode ?? 0
    // 304: it already is as it was wanted.
    if (status >= 400) throw new Refused(status, messageOf(text))
    return parse(text)
  }

  /** Lines of JSON as they come, until the signal ends it. */
  async *listen(path: string, options: CallOptions & { readonly method?: 'POST' }): AsyncGenerator<unknown> {
    const answer = await this.#ask(options.method ?? 'GET', path, options)
    const status = answer.statusCode ?? 0
    if (status >= 400) throw new Refused(status, messageOf(await bodyOf(answer)))
    let held = ''
    answer.setEncoding('utf8')
    try {
      for await (const part of answer) {
        const lines = (held + String(part)).split('\n')
        held = (lines.pop() ?? '').slice(-MAX_ANSWER_BYTES)
        for (const line of lines) if (line !== '') yield parse(line)
      }
    } finally {
      answer.destroy()
    }
  }

  /** A connection that is taken over: bytes both ways. */
  hijack(path: string, { signal, body, query = {} }: CallOptions): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const bytes = body === undefined ? '' : JSON.stringify(body)
      const asked = request({
        ...{ socketPath: this.socket, method: 'POST', path: pathOf(path, query), signal, agent: false },
        headers: {
          ...{ connection: 'Upgrade', upgrade: 'tcp', 'content-type': 'application/json' },
          'content-length': Buffer.byteLength(bytes),
        },
      })
      asked.once('upgrade', (_, socket, head) => {
        if (head.length > 0) socket.unshift(head)
        socket.on('error', () => {})
        resolve(socket)
      })
      asked.once('response', (answer) => {
        bodyOf(answer).then((text) => reject(new Refused(answer.statusCode ?? 0, messageOf(text))), reject)
      })
      asked.once('error', (cause) => reject(signal.aborted ? signal.reason : this.#down(cause)))
      asked.end(bytes)
    })
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  #ask(method: string, path: string, options: CallOptions): Promise<IncomingMessage> {
    const { signal, body, upload, query = {}, headers = {} } = options
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
      const content = bytes ?? (upload instanceof Buffer ? upload : undefined)
      const asked = request(
        {
          ...{ socketPath: this.socket, method, path: pathOf(path, query), agent: this.#agent, signal },
          headers: {
            ...headers,
            ...(bytes === undefined ? {} : { 'content-type': 'application/json' }),
            ...(upload === undefined ? {} : { 'content-type': 'application/x-tar' }),
            ...(upload === undefined || content !== undefined
              ? { 'content-length': String(content?.length ?? 0) }
              : {}),
          },
        },
        resolve,
      )
      asked.once('error', (cause) => reject(options.signal.aborted ? options.signal.reason : this.#down(cause)))
      if (upload === undefined || upload instanceof Buffer) asked.end(content)
      else pipeline(upload, asked).catch(reject)
    })
  }

  #down(cause: unknown): SluiceError {
    if (!existsSync(this.socket)) {
      return new SluiceError('SLUICE_POD_RUNTIME_MISSING', `podman is not here: there is no ${this.socket}`, {
        hint: 'Install and start it: apt-get install podman && systemctl enable --now podman.socket; or give its socket: --pods podman=/path/to.sock.',
        cause,
      })
    }
    return new SluiceError('SLUICE_POD_RUNTIME_DOWN', `podman does not answer at ${this.socket}`, {
      hint: 'Look at it: systemctl status podman.socket. What runs goes on meanwhile.',
      cause,
    })
  }
}

function pathOf(path: string, query: NonNullable<CallOptions['query']>): string {
  const params = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(String(value))}`],
  )
  return `${VERSION}${path}${params.length === 0 ? '' : `?${params.join('&')}`}`
}

async function bodyOf(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of answer) {
    bytes += (part as Buffer).length
    if (bytes > MAX_ANSWER_BYTES) throw new Refused(0, 'an answer is too long')
    parts.push(part as Buffer)
  }
  return Buffer.concat(parts).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const messageOf = (text: string): string =>
  (textAt(parse(text), 'message') || text || 'no reason was given').replaceAll(/[\r\n]+/g, ' ').slice(0, 1024)

export const asMap = (value: unknown): Words => (typeof value === 'object' && value !== null ? (value as Words) : {})

export const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/** What is at this path, when it is a text. */
export function textAt(value: unknown, ...path: readonly string[]): string {
  const found = path.reduce<unknown>((held, name) => asMap(held)[name], value)
  return typeof found === 'string' ? found : ''
}

export function numberAt(value: unknown, ...path: readonly string[]): number {
  const found = path.reduce<unknown>((held, name) => asMap(held)[name], value)
  return typeof found === 'number' ? found : 0
}

export const textsAt = (value: unknown, name: string): readonly string[] =>
  asList(asMap(value)[name]).filter((one): one is string => typeof one === 'string')
