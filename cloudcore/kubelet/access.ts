import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { readSubject } from '../join/identity.ts'
import type { KubeClient } from '../kube/client.ts'

/** What of a node is asked for, as a kubelet maps its paths: `nodes/proxy`, `nodes/stats`, `nodes/metrics`. */
export interface NodeAction {
  readonly verb: 'get' | 'create'
  readonly node: string
  readonly subresource: 'proxy' | 'stats' | 'metrics'
}

interface Identity {
  readonly user: string
  readonly groups: readonly string[]
  readonly uid?: string
}

/** An answer is taken for true this long, as a kubelet's webhook caches do; refusals for a shorter time. */
const ALLOWED_MS = 10_000
const REFUSED_MS = 3_000
const MAX_KEPT = 1000
const REVIEW_MS = 10_000

/**
 * Lets in whom the cluster lets in: a client certificate of a CA that the API's front door trusts, or a bearer token by
 * TokenReview; and then SubjectAccessReview. There is no anonymous access and no list of our own.
 */
export class NodeAccess {
  readonly #client: Pick<KubeClient, 'create'>
  readonly #clock: Clock
  readonly #tokens = new Kept<Identity | undefined>()
  readonly #actions = new Kept<boolean>()

  constructor(client: Pick<KubeClient, 'create'>, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** Throws SLUICE_KUBELET_UNAUTHENTICATED, SLUICE_KUBELET_FORBIDDEN. */
  async check(request: IncomingMessage, action: NodeAction, signal: AbortSignal): Promise<string> {
    const identity = await this.#identify(request, signal)
    if (identity === undefined) {
      throw new SluiceError('SLUICE_KUBELET_UNAUTHENTICATED', 'Unauthorized', {
        hint: "Use the API server's client certificate for kubelets, or a token that the cluster knows.",
      })
    }
    if (await this.#allowed(identity, action, signal)) return identity.user
    const { verb, node, subresource } = action
    const message = `Forbidden (user=${identity.user}, verb=${verb}, resource=nodes, subresource=${subresource}, node=${node})`
    throw new SluiceError('SLUICE_KUBELET_FORBIDDEN', message)
  }

  async #identify(request: IncomingMessage, signal: AbortSignal): Promise<Identity | undefined> {
    const byCertificate = certificateIdentity(request)
    if (byCertificate !== undefined) return byCertificate
    const token = /^Bearer +(\S{1,8192})$/i.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) return undefined
    const key = createHash('sha256').update(token).digest('base64')
    const known = this.#tokens.get(key, this.#clock.monotonic())
    if (known !== undefined) return known.value
    const review = await this.#client.create<TokenReview>(
      '/apis/authentication.k8s.io/v1/tokenreviews',
      { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
      { signal, timeoutMs: REVIEW_MS },
    )
    const { authenticated, user } = review.status ?? {}
    const identity =
      authenticated === true && user?.username !== undefined
        ? {
            user: user.username,
            groups: user.groups ?? [],
            ...(user.uid === undefined ? {} : { uid: user.uid }),
          }
        : undefined
    const untilMs = this.#clock.monotonic() + (identity === undefined ? REFUSED_MS : ALLOWED_MS)
    this.#tokens.set(key, identity, untilMs)
    return identity
  }

  async #allowed(identity: Identity, { verb, node, subresource }: NodeAction, signal: AbortSignal): Promise<boolean> {
    const { user, groups, uid } = identity
    const key = JSON.stringify([user, groups, verb, node, subresource])
    const known = this.#actions.get(key, this.#clock.monotonic())
    if (known !== undefined) return known.value
    const resourceAttributes = { verb, version: 'v1', resource: 'nodes', subresource, name: node }
    const review = await this.#client.create<AccessReview>(
      '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { user, groups, ...(uid === undefined ? {} : { uid }), resourceAttributes },
      },
      { signal, timeoutMs: REVIEW_MS },
    )
    const allowed = review.status?.allowed === true
    this.#actions.set(key, allowed, this.#clock.monotonic() + (allowed ? ALLOWED_MS : REFUSED_MS))
    return allowed
  }
}

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean
    readonly user?: { readonly username?: string; readonly uid?: string; readonly groups?: readonly string[] }
  }
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean }
}

/** Only a certificate that the handshake found valid counts; the CAs are the listener's. */
function certificateIdentity({ socket }: IncomingMessage): Identity | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return undefined
  const { commonName, organizations } = readSubject(certificate.subject)
  if (commonName === undefined || commonName === '') return undefined
  return { user: commonName, groups: [...organizations, 'system:authenticated'] }
}

class Kept<T> {
  readonly #items = new Map<string, { readonly value: T; readonly untilMs: number }>()

  get(key: string, nowMs: number): { readonly value: T } | undefined {
    const held = this.#items.get(key)
    return held === undefined || held.untilMs <= nowMs ? undefined : held
  }

  set(key: string, value: T, untilMs: number): void {
    if (this.#items.size >= MAX_KEPT) this.#items.clear()
    this.#items.set(key, { value, untilMs })
  }
}
