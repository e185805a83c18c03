import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../clock.ts'
import { SluiceError, toSluiceError } from '../errors.ts'
import { tellAnswer, watchAnswer } from './answers.ts'
import type { AuditEntry, AuditLog } from './audit-log.ts'
import type { ForeignSignIn } from './foreign-sign-in.ts'
import { mayActAs, neededRole, type Role } from './roles.ts'
import type { ConsoleSessions, Identity, Session } from './sessions.ts'
import { isConsoleFile, serveConsoleFile } from './static-files.ts'

/** `GET /v1/session`: who is signed in where. */
export interface SessionView {
  readonly kind: 'gateway' | 'cloud'
  readonly name: string
  readonly role: Role
  readonly csrf: string
  /** Sign-in by a token is possible here. */
  readonly place: string
  readonly version: string
  /** Of one who is not signed in: who else knows people. */
  readonly foreign?: string
}

export interface GateOptions {
  readonly clock: Clock
  readonly kind: 'gateway' | 'cloud'
  /** Name of the gateway, or of the cloud core's host. */
  readonly place: string
  readonly version: string
  /** Behind TLS: the cookie is for TLS only, too. */
  readonly secure: boolean
  readonly cookie: string
  readonly sessions: ConsoleSessions
  readonly audit: AuditLog
  /** Who a token belongs to, where tokens are taken. */
  readonly signIn?: (token: string) => Promise<Identity | undefined>
  /** Somebody else who knows people, and the address of this console that they send browsers back to. */
  readonly foreign?: { readonly by: ForeignSignIn; readonly consoleUrl: () => string }
  readonly folder?: string
}

/** They have a body and change nothing. */
const READS: ReadonlySet<string> = new Set(['/v1/check', '/v1/trial'])
/** Sends the browser to who knows people, and takes it back from there. */
const FOREIGN_PATH = '/v1/session/oidc'
const FOREIGN_BACK_PATH = '/v1/session/oidc/back'
const FLIGHT_S = 600
const STAYS_OPEN = /^\/v1\/(events|pods\/[^/]+\/[^/]+\/logs)$/
const MAX_SIGN_IN_BYTES = 16 * 1024

/** Stands before the `/v1` API for browsers: the console's files, signing in and out, roles, CSRF, and the audit log. */
export class ConsoleGate {
  readonly #options: GateOptions

  constructor(options: GateOptions) {
    this.#options = options
  }

  /** Answers what is the console's own; says whether it was. */
  async answered(request: IncomingMessage, response: ServerResponse, path: string): Promise<boolean> {
    if (isConsoleFile(path)) {
      if (request.method !== 'GET' && request.method !== 'HEAD') throw wrongMethod(request)
      await serveConsoleFile(request, response, path, this.#options.folder)
      return true
    }
    if (path === '/v1/session') {
      await this.#session(request, response)
      return true
    }
    if (path === FOREIGN_PATH || path === FOREIGN_BACK_PATH) {
      await this.#foreign(request, response, path === FOREIGN_BACK_PATH)
      return true
    }
    return false
  }

  /**
   * Who a browser's request comes from, after role and CSRF were looked at; undefined for a request without our cookie.
   * Throws SLUICE_CONSOLE_SIGNED_OUT, SLUICE_CONSOLE_CSRF, SLUICE_CONSOLE_ROLE.
   */
  async admit(request: IncomingMessage, path: string): Promise<Session | undefined> {
    const secret = this.#secretOf(request)
    if (secret === undefined) return undefined
    const session = await this.#options.sessions.find(secret)
    if (session === undefined) throw signedOut()
    const method = request.method ?? 'GET'
    if (method !== 'GET' && method !== 'HEAD') this.#sameSite(request, session)
    this.#needRole(session, neededRole(method, path))
    return session
  }

  /**
   * Who opens a WebSocket, which browsers let any page do: it has to come from our own page and to offer `csrf.WORD` as one
   * of its protocols. Throws as `admit` does.
   */
  async admitUpgrade(request: IncomingMessage, path: string): Promise<Session> {
    const secret = this.#secretOf(request)
    const session = secret === undefined ? undefined : await this.#options.sessions.find(secret)
    if (session === undefined) throw signedOut()
    if (request.headers.origin === undefined) throw foreignPage()
    this.#sameOrigin(request)
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim())
    if (!offered.includes(`csrf.${session.csrf}`)) throw foreignPage()
    this.#needRole(session, neededRole('GET', path))
    return session
  }

  /** Calls `ended` when the session that asked has ended; undefined for a request without one. */
  follow(request: IncomingMessage, ended: () => void): Disposable | undefined {
    const secret = this.#secretOf(request)
    return secret === undefined ? undefined : this.#options.sessions.follow(secret, ended)
  }

  /** Writes down something that is no request with an answer. */
  note(
    request: IncomingMessage,
    { name, role }: Session,
    entry: Pick<AuditEntry, 'action' | 'target' | 'status' | 'value' | 'answer'>,
  ): void {
    const at = new Date(this.#options.clock.now()).toISOString()
    this.#options.audit.append({ at, who: name, role, from: request.socket.remoteAddress ?? 'socket', ...entry })
  }

  /** Has the audit log write down how this write ends; what stays open ends with the session that asked for it. */
  record(request: IncomingMessage, response: ServerResponse, path: string, who: string, role?: Role): void {
    if (STAYS_OPEN.test(path)) {
      const held = this.follow(request, () => response.destroy())
      response.once('close', () => held?.[Symbol.dispose]())
    }
    if (request.method === 'GET' || request.method === 'HEAD' || READS.has(path)) return
    const why = whyOf(request)
    watchAnswer(response, (status, body) => {
      this.#options.audit.append({
        at: new Date(this.#options.clock.now()).toISOString(),
        who,
        ...(role === undefined ? {} : { role }),
        from: request.socket.remoteAddress ?? 'socket',
        action: `${request.method}`,
        target: path.replace(/^\/v1\//, ''),
        ...(why === undefined ? {} : { why }),
        status,
        ...wordsOf(body),
      })
    })
  }

  async #session(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { sessions, kind, place, version } = this.#options
    const secret = this.#secretOf(request)
    if (request.method === 'GET') {
      const session = secret === undefined ? undefined : await sessions.find(secret)
      // No error: a page that asks whether it is signed in is not doing anything wrong.
      if (session === undefined) {
        const by = this.#options.foreign?.by.name
        return sendJson(response, 200, { kind, place, version, ...(by === undefined ? {} : { foreign: by }) })
      }
      const { name, role, csrf } = session
      return sendJson(response, 200, { kind, place, version, name, role, csrf } satisfies SessionView)
    }
    if (request.method === 'DELETE') {
      const session = secret === undefined ? undefined : await sessions.find(secret)
      if (session !== undefined) this.#sameSite(request, session)
      if (secret !== undefined) sessions.end(secret)
      response.setHeader('set-cookie', this.#cookie('', 0))
      return sendJson(response, 200, {})
    }
    if (request.method !== 'POST') throw wrongMethod(request)
    this.#sameOrigin(request)
    const { code, token } = await readFields(request)
    sessions.refuseGuessing()
    const identity =
      typeof code === 'string'
        ? sessions.redeem(code)
        : typeof token === 'string'
          ? await this.#options.signIn?.(token.trim())
          : undefined
    if (identity === undefined) {
      if (typeof code !== 'string') sessions.wrongAttempt()
      this.#note(request, 'unknown', 401)
      throw new SluiceError('SLUICE_CONSOLE_SIGN_IN', 'This code or token is not valid', {
        hint: "A code is good once, for five minutes; 'sluice console' makes another.",
      })
    }
    const { secret: made, session } = sessions.start(identity)
    this.#note(request, identity.name, 200, identity.role)
    response.setHeader('set-cookie', this.#cookie(made, 86_400))
    const { name, role, csrf } = session
    sendJson(response, 200, { kind, place, version, name, role, csrf } satisfies SessionView)
  }

  /**
   * Both are opened by the browser itself, so what goes wrong is said on the page it lands on. The answer may only come to the browser
   * that asked: a cookie of its own ties them together. It is `Lax`, since the way back begins at another site; the session's stays `Strict`.
   */
  async #foreign(request: IncomingMessage, response: ServerResponse, isBack: boolean): Promise<void> {
    const { foreign, sessions } = this.#options
    if (foreign === undefined) throw new SluiceError('SLUICE_API_NOT_FOUND', 'Nobody else signs in here')
    if (request.method !== 'GET') throw wrongMethod(request)
    const home = foreign.consoleUrl()
    try {
      if (!isBack) {
        sessions.refuseGuessing()
        // Under another name the cookie would not come back.
        const { search } = new URL(request.url ?? '/', home)
        if (request.headers.host !== new URL(home).host) return redirect(response, `${home}${FOREIGN_PATH}${search}`)
        const { url, secret } = await foreign.by.begin(`${home}${FOREIGN_BACK_PATH}`, search === '?anew')
        response.setHeader('set-cookie', this.#flightCookie(secret, FLIGHT_S))
        return redirect(response, url)
      }
      const secret = this.#cookieOf(request, this.#flightName)
      const { search } = new URL(request.url ?? '/', home)
      const identity = await foreign.by.end(search, secret ?? '')
      const { secret: made } = sessions.start(identity)
      this.#note(request, identity.name, 200, identity.role)
      response.setHeader('set-cookie', [this.#cookie(made, 86_400), this.#flightCookie('', 0)])
      redirect(response, '/')
    } catch (thrown) {
      const { code } = toSluiceError(thrown)
      if (isBack) {
        sessions.wrongAttempt()
        this.#note(request, 'unknown', 401)
      }
      // The code alone: whoever makes up an address must not have the page say their words.
      redirect(response, `/#/refused/${code}`)
    }
  }

  #needRole({ name, role }: Session, needed: Role): void {
    if (mayActAs(role, needed)) return
    throw new SluiceError('SLUICE_CONSOLE_ROLE', `This needs the role ${needed}; ${name} is ${role}`, {
      hint: 'Sign in as somebody who may, or ask them.',
    })
  }

  #note(request: IncomingMessage, who: string, status: number, role?: Role): void {
    this.#options.audit.append({
      at: new Date(this.#options.clock.now()).toISOString(),
      who,
      ...(role === undefined ? {} : { role }),
      from: request.socket.remoteAddress ?? 'socket',
      action: 'SIGN-IN',
      target: this.#options.place,
      status,
    })
  }

  #sameSite(request: IncomingMessage, session: Session): void {
    this.#sameOrigin(request)
    if (request.headers['x-sluice-csrf'] !== session.csrf) throw foreignPage()
  }

  #sameOrigin(request: IncomingMessage): void {
    const { origin, host } = request.headers
    const site = request.headers['sec-fetch-site']
    const foreign = site !== undefined && site !== 'same-origin'
    if (!foreign && (origin === undefined || origin.replace(/^https?:\/\//, '') === host)) return
    throw new SluiceError('SLUICE_CONSOLE_CSRF', 'The request comes from another site', { hint: 'Use the console.' })
  }

  #secretOf(request: IncomingMessage): string | undefined {
    return this.#cookieOf(request, this.#options.cookie)
  }

  #cookieOf(request: IncomingMessage, wanted: string): string | undefined {
    for (const part of (request.headers.cookie ?? '').split(';')) {
      const [name, value] = part.trim().split('=')
      if (name === wanted && value !== undefined && value !== '') return value
    }
    return undefined
  }

  get #flightName(): string {
    return `${this.#options.cookie}-flight`
  }

  #flightCookie(value: string, maxAgeS: number): string {
    const secure = this.#options.secure ? '; Secure' : ''
    return `${this.#flightName}=${value}; Path=/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Lax${secure}`
  }

  #cookie(value: string, maxAgeS: number): string {
    const { cookie, secure } = this.#options
    return `${cookie}=${value}; Path=/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`
  }
}

const foreignPage = () =>
  new SluiceError('SLUICE_CONSOLE_CSRF', 'The request does not come from the console', { hint: 'Load the page again.' })

export const signedOut = () =>
  new SluiceError('SLUICE_CONSOLE_SIGNED_OUT', 'You are not signed in, or no longer', { hint: 'Sign in again.' })

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { location, 'cache-control': 'no-store' })
  response.end()
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  tellAnswer(response, status, body)
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}

const wrongMethod = (request: IncomingMessage) =>
  new SluiceError('SLUICE_API_METHOD', `${request.method} is not possible here`)

function whyOf(request: IncomingMessage): string | undefined {
  const given = request.headers['x-sluice-why']
  if (typeof given !== 'string' || given === '') return undefined
  try {
    return decodeURIComponent(given).slice(0, 200)
  } catch {
    return undefined
  }
}

/** Of an answer, what may stand in a log: never the token that it may bring. */
function wordsOf(body: unknown): { readonly value?: string; readonly answer?: string } {
  if (typeof body !== 'object' || body === null) return {}
  const text = (name: string): string | undefined => {
    const field: unknown = Reflect.get(body, name)
    return field === undefined ? undefined : typeof field === 'string' ? field : JSON.stringify(field)
  }
  // An invitation has a `code`, too, and that one signs in.
  const code = text('code')
  const parts = [
    text('state') ?? (code?.startsWith('SLUICE_') === true ? code : undefined),
    text('reason') ?? text('message'),
    text('gateway'),
    text('made'),
    text('role'),
  ]
  const answer = parts.filter((part) => part !== undefined).join(': ')
  const value = text('value')
  return { ...(value === undefined ? {} : { value }), ...(answer === '' ? {} : { answer }) }
}

async function readFields(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  let text = ''
  for await (const chunk of request as AsyncIterable<Buffer>) {
    text += chunk.toString()
    if (text.length > MAX_SIGN_IN_BYTES) throw new SluiceError('SLUICE_API_TOO_LARGE', 'The request is too large')
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return { ...value }
  } catch {}
  throw new SluiceError('SLUICE_API_BAD_REQUEST', 'The request body is no JSON object')
}
