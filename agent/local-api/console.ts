import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'
import { AuditLog } from '../../api/console/audit-log.ts'
import { ConsoleGate, signedOut } from '../../api/console/gate.ts'
import { answerPodLogs, type PodDoor, serveTerminal, TERMINAL_PROTOCOL } from '../../api/console/pod-streams.ts'
import type { Role } from '../../api/console/roles.ts'
import { ConsoleSessions } from '../../api/console/sessions.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import type { StreamEvent } from '../../api/views.ts'
import type { Log } from '../log.ts'
import { AGENT_VERSION } from '../version.ts'
import { History } from './history.ts'
import type { Insight } from './insight.ts'
import { readBody } from './routes.ts'
import { answer, answerError, type Handler, isLoopbackHost } from './server.ts'

export interface GatewayConsoleOptions {
  readonly clock: Clock
  readonly gateway: string
  readonly directory: string
  readonly log: Log
  readonly handler: Handler
  /** What only this gateway knows. */
  readonly insight: Insight
}

/** What `POST /v1/console` answers: where the console is, and the code that signs in there once. */
export interface ConsoleInvitation {
  readonly url: string
  readonly code: string
  readonly role: Role
}

const USUAL_PORT = 7480
const TERMINAL_SOCKETS = {
  ...{ perMessageDeflate: false, clientTracking: false, maxPayload: 64 * 1024 + 1 },
  handleProtocols: (offered: ReadonlySet<string>) => offered.has(TERMINAL_PROTOCOL) && TERMINAL_PROTOCOL,
}

/**
 * The console of one gateway on a loopback port of its own: its page, its session, and the `/v1` API behind both. Made
 * when somebody first asks for it, so that a gateway nobody looks at carries none of this.
 */
export class GatewayConsole implements AsyncDisposable {
  readonly #options: GatewayConsoleOptions
  readonly #sessions: ConsoleSessions
  readonly #audit: AuditLog
  readonly #history: History
  readonly #server: Server
  #gate: ConsoleGate | undefined
  #port = 0

  constructor(options: GatewayConsoleOptions) {
    const { clock, directory, log } = options
    this.#options = options
    this.#sessions = new ConsoleSessions(clock)
    this.#audit = new AuditLog({
      path: join(directory, 'audit.jsonl'),
      maxBytes: 1024 * 1024,
      onTrouble: (message) => log('error', message),
    })
    this.#history = new History(clock.now())
    this.#server = createServer({ maxHeaderSize: 16_384, requestTimeout: 30_000 }, (request, response) => {
      void this.#serve(request, response)
    })
    this.#server.maxConnections = 128
    const door: PodDoor = {
      find: async (namespace, name) => options.insight.findPod(namespace, name),
      upgrade: async (request, socket, head) => {
        // Loaded with the first terminal.
        const { WebSocketServer } = await import('ws')
        const sockets = new WebSocketServer({ noServer: true, ...TERMINAL_SOCKETS })
        return new Promise((resolve) => sockets.handleUpgrade(request, socket, head, resolve))
      },
    }
    this.#server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      const foreign = this.#gate === undefined || !isLoopbackHost(request.headers.host)
      const served = foreign ? undefined : serveTerminal(this.#gate!, door, request, socket, head)
      if (served === undefined) socket.destroy()
    })
  }

  /** Listens on the wanted port, else on 7480, else, where that is taken, on any free one. */
  async listen(wanted: number | undefined): Promise<void> {
    this.#port = await this.#bind(wanted ?? USUAL_PORT).catch((cause: unknown) => {
      if (wanted !== undefined) {
        throw new SluiceError('SLUICE_API_IN_USE', `The console cannot listen on 127.0.0.1:${wanted}`, {
          hint: 'Give another port.',
          cause,
        })
      }
      return this.#bind(0)
    })
    const { clock, gateway } = this.#options
    this.#gate = new ConsoleGate({
      ...{ clock, kind: 'gateway', place: gateway, version: AGENT_VERSION, secure: false },
      // Cookies know no ports: two gateways on one machine must not share one.
      cookie: `sluice-console-${this.#port}`,
      sessions: this.#sessions,
      audit: this.#audit,
    })
  }

  invite(name: string, role: Role): ConsoleInvitation {
    const code = this.#sessions.issueCode({ name, role })
    // After the `#`, so that no server and no log of one gets to see it.
    return { url: `http://127.0.0.1:${this.#port}/#/sign-in/${code}`, code, role }
  }

  event(event: StreamEvent): void {
    this.#history.push(event)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
    this.#audit[Symbol.dispose]()
  }

  #bind(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, '127.0.0.1', () => {
        this.#server.off('error', reject)
        resolve((this.#server.address() as AddressInfo).port)
      })
    })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://gateway')
    try {
      if (!isLoopbackHost(request.headers.host)) {
        throw new SluiceError('SLUICE_API_HOST', `The console does not answer for host '${request.headers.host}'`, {
          hint: `Open http://127.0.0.1:${this.#port}/, from another machine through ssh -L ${this.#port}:127.0.0.1:${this.#port}.`,
        })
      }
      await this.#route(request, response, url)
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code === 'SLUICE_INTERNAL') this.#options.log('error', `Console: ${error.message}`)
      answerError(response, error)
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const gate = this.#gate!
    const path = url.pathname
    if (await gate.answered(request, response, path)) return
    const session = await gate.admit(request, path)
    if (session === undefined) throw signedOut()
    gate.record(request, response, path, session.name, session.role)
    const reading = request.method === 'GET' || request.method === 'HEAD'
    const parts = path.split('/').filter((part) => part !== '')
    if (reading && path === '/v1/audit') return answer(response, 200, { items: this.#audit.list() })
    if (reading && parts[1] === 'history' && parts.length === 5) {
      const [, , namespace = '', name = '', property = ''] = parts.map(decodeURIComponent)
      const from = Number(url.searchParams.get('from') ?? 0)
      return answer(response, 200, this.#history.view(`${namespace}/${name}`, property, from))
    }
    const [, second = '', namespace = '', name = '', fifth] = parts.map(decodeURIComponent)
    if (reading && second === 'pods' && fifth === 'logs' && parts.length === 5) {
      const gone = new AbortController()
      response.once('close', () => gone.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever asked went away')))
      const pod = this.#options.insight.findPod(namespace, name)
      return answerPodLogs(pod, url.searchParams, response, gone.signal)
    }
    const asked = path.replace(/^\/v1\//, '')
    if (this.#options.insight.knows(asked) && (reading || (asked === 'trial' && request.method === 'POST'))) {
      const body = reading ? undefined : ((await readBody(request, 'Send a JSON object.')) as Json)
      return answer(response, 200, await this.#options.insight.ask(`${asked}${url.search}`, body))
    }
    // Who may open the console is for whoever sits at the socket to say.
    if (path === '/v1/console') throw new SluiceError('SLUICE_API_NOT_FOUND', `There is nothing at ${path}`)
    await this.#options.handler(request, response, url)
  }
}
