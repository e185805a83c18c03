import { timingSafeEqual } from 'node:crypto'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { tellAnswer } from '../../api/console/answers.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { Log } from '../log.ts'
import { ensureToken } from './token.ts'

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>

export interface LocalApiOptions {
  readonly directory: string
  /** Loopback TCP port beside the socket; 0 picks a free one, absent opens none. */
  readonly port?: number
  readonly handler: Handler
  readonly log: Log
}

/** Longest path of a Unix socket on Linux, without the terminating zero (unix(7): sun_path has 108 bytes). */
const MAX_SOCKET_PATH = 107

/**
 * The local API on a Unix socket, which file permissions guard, and on request on a loopback port. Any program and any
 * web page of a local browser can reach a loopback port: reading there needs a loopback `Host`, so that no foreign
 * name resolves to it, and writing needs the token of `local-api.token` as well.
 */
export class LocalApi implements AsyncDisposable {
  readonly socketPath: string
  readonly #options: LocalApiOptions
  readonly #servers: Server[] = []
  readonly #token: string
  port: number | undefined

  constructor(options: LocalApiOptions) {
    this.#options = options
    this.socketPath = join(options.directory, 'agent.sock')
    this.#token = options.port === undefined ? '' : ensureToken(join(options.directory, 'local-api.token'))
  }

  async listen(): Promise<void> {
    if (Buffer.byteLength(this.socketPath) > MAX_SOCKET_PATH) {
      throw new SluiceError(
        'SLUICE_API_SOCKET',
        `The socket path ${this.socketPath} is longer than ${MAX_SOCKET_PATH} bytes`,
        {
          hint: 'Give a data directory with a shorter path.',
        },
      )
    }
    if (existsSync(this.socketPath)) await this.#removeStale()
    await this.#open({ path: this.socketPath }, () => true)
    chmodSync(this.socketPath, 0o660)
    const { port } = this.#options
    if (port === undefined) return
    const server = await this.#open({ port, host: '127.0.0.1' }, (request) => this.#guard(request))
    this.port = (server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#servers.map((server) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()))
        server.closeAllConnections()
        return closed
      }),
    )
  }

  #open(
    where: { path: string } | { port: number; host: string },
    guard: (request: IncomingMessage) => true,
  ): Promise<Server> {
    const server = createServer({ maxHeaderSize: 8192, requestTimeout: 30_000 }, (request, response) => {
      void this.#serve(request, response, guard)
    })
    server.maxConnections = 256
    this.#servers.push(server)
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(inUse(where, error)))
      server.listen(where, () => resolve(server))
    })
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    guard: (request: IncomingMessage) => true,
  ): Promise<void> {
    try {
      guard(request)
      await this.#options.handler(request, response, new URL(request.url ?? '/', 'http://gateway'))
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code === 'SLUICE_INTERNAL')
        this.#options.log('error', `Local API: ${error.message}`, { path: request.url ?? '' })
      answerError(response, error)
    }
  }

  #guard(request: IncomingMessage): true {
    if (!isLoopbackHost(request.headers.host)) {
      throw new SluiceError('SLUICE_API_HOST', `The local API does not answer for host '${request.headers.host}'`, {
        hint: 'Use http://127.0.0.1 with the port, or the Unix socket.',
      })
    }
    if (request.method === 'GET' || request.method === 'HEAD') return true
    const given = Buffer.from(request.headers.authorization ?? '')
    const wanted = Buffer.from(`Bearer ${this.#token}`)
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      throw new SluiceError('SLUICE_API_TOKEN', 'Writing over the loopback port needs the token', {
        hint: 'Send `Authorization: Bearer` with the content of local-api.token, or use the Unix socket.',
      })
    }
    return true
  }

  /** A socket file left by a killed agent is removed; one that answers belongs to a running agent. */
  #removeStale(): Promise<void> {
    return new Promise((resolve, reject) => {
      const probe = connect(this.socketPath)
      probe.once('connect', () => {
        probe.destroy()
        reject(inUse({ path: this.socketPath }, undefined))
      })
      probe.once('error', () => {
        rmSync(this.socketPath, { force: true })
        resolve()
      })
    })
  }
}

/** Whether a browser meant this machine: a foreign name may resolve to its address, too. */
export function isLoopbackHost(host: string | undefined): boolean {
  const name = (host ?? '').replace(/:\d+$/, '')
  return name === '127.0.0.1' || name === 'localhost' || name === '[::1]'
}

function inUse(where: { path: string } | { port: number }, cause: unknown): SluiceError {
  const name = 'path' in where ? where.path : `127.0.0.1:${where.port}`
  return new SluiceError('SLUICE_API_IN_USE', `The local API cannot listen on ${name}`, {
    hint: 'Stop the other agent, or give another data directory or port.',
    cause,
  })
}

const STATUS: Readonly<Record<string, number>> = {
  SLUICE_API_HOST: 403,
  SLUICE_API_TOKEN: 401,
  SLUICE_API_BUSY: 503,
  SLUICE_API_NOT_FOUND: 404,
  SLUICE_API_METHOD: 405,
  SLUICE_API_BAD_REQUEST: 400,
  SLUICE_API_TOO_LARGE: 413,
  SLUICE_TWIN_DEVICE_UNKNOWN: 404,
  SLUICE_TWIN_PROPERTY_UNKNOWN: 404,
  SLUICE_TWIN_READ_ONLY: 422,
  SLUICE_TWIN_VALUE_REFUSED: 422,
  SLUICE_INVALID_DURATION: 400,
  SLUICE_STORE_FULL: 507,
  SLUICE_CONSOLE_SIGNED_OUT: 401,
  SLUICE_CONSOLE_SIGN_IN: 401,
  SLUICE_CONSOLE_CSRF: 403,
  SLUICE_CONSOLE_ROLE: 403,
  SLUICE_CONSOLE_TOO_MANY: 429,
  SLUICE_CONSOLE_NOT_BUILT: 503,
  SLUICE_POD_NOT_FOUND: 404,
  SLUICE_POD_CONTAINER: 404,
  SLUICE_STREAM_KIND: 501,
  SLUICE_TRIAL_REFUSED: 409,
  SLUICE_MODEL_INVALID: 422,
}

export function answerError(response: ServerResponse, error: SluiceError): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { code, message, hint } = error
  answer(response, STATUS[code] ?? 500, { code, message, ...(hint === undefined ? {} : { hint }) })
}

export function answer(response: ServerResponse, status: number, body: unknown): void {
  tellAnswer(response, status, body)
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
