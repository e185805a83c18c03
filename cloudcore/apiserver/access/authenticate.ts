import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { unauthorized } from '../http/status.ts'
import type { Caller } from '../registry/kind.ts'

export type Tokens = ReadonlyMap<string, { readonly user: string; readonly groups: readonly string[] }>

const EVERYBODY = 'system:authenticated'

/**
 * Says who is calling: a client certificate signed by our CA (CN is the user, each O a group), or a bearer token.
 * Throws 401 for anybody else.
 */
export class Authenticator {
  readonly #bySocket = new WeakMap<Socket, Caller>()
  readonly #tokens: readonly { readonly digest: Buffer; readonly caller: Caller }[]

  constructor(tokens: Tokens = new Map()) {
    this.#tokens = [...tokens].map(([token, { user, groups }]) => ({
      digest: digest(token),
      caller: { user, groups: [...groups, EVERYBODY] },
    }))
  }

  identify(request: IncomingMessage): Caller {
    const header = request.headers.authorization
    if (header !== undefined) return this.#byToken(header)
    const { socket } = request
    const known = this.#bySocket.get(socket)
    if (known !== undefined) return known
    const caller = socket instanceof TLSSocket && socket.authorized ? byCertificate(socket) : undefined
    if (caller === undefined) throw unauthorized()
    this.#bySocket.set(socket, caller)
    return caller
  }

  /** Compares digests in constant time, so that an answer's delay says nothing about a token. */
  #byToken(header: string): Caller {
    const caller = this.ofToken(/^Bearer +(.{1,4096})$/i.exec(header)?.[1] ?? '')
    if (caller === undefined) throw unauthorized()
    return caller
  }

  /** Whose a token is; undefined for nobody's. */
  ofToken(token: string): Caller | undefined {
    const given = digest(token)
    let caller: Caller | undefined
    for (const candidate of this.#tokens) {
      if (timingSafeEqual(candidate.digest, given)) caller = candidate.caller
    }
    return caller
  }
}

function byCertificate(socket: TLSSocket): Caller | undefined {
  const { subject } = socket.getPeerCertificate()
  // Node's types leave out that a repeated attribute becomes a list.
  const attribute = (value: unknown): string[] =>
    Array.isArray(value) ? value.filter((item) => typeof item === 'string') : typeof value === 'string' ? [value] : []
  const [user] = attribute(subject?.CN)
  return user === undefined || user === '' ? undefined : { user, groups: [...attribute(subject.O), EVERYBODY] }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
