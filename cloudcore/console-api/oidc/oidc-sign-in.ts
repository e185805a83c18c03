import { createHash, randomBytes } from 'node:crypto'
import type { Configuration, IDToken } from 'openid-client'
import type { Clock } from '../../../api/clock.ts'
import type { ForeignSignIn } from '../../../api/console/foreign-sign-in.ts'
import type { Role } from '../../../api/console/roles.ts'
import type { Identity } from '../../../api/console/sessions.ts'
import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { OidcConfig } from './config.ts'
import { fetchWithAuthority } from './fetch-with-authority.ts'

export interface Person {
  readonly name: string
  readonly groups: readonly string[]
}

export interface OidcSignInOptions {
  readonly config: OidcConfig
  readonly clock: Clock
  /** What the Kubernetes API lets this person do; undefined when they may not even look. */
  readonly roleOf: (person: Person) => Promise<Role | undefined>
}

interface Flight {
  readonly verifier: string
  readonly state: string
  readonly nonce: string
  readonly redirectUri: string
  readonly untilMs: number
}

const FLIGHT_MS = 10 * 60_000
const MAX_FLIGHTS = 256
/** Names that Kubernetes keeps to itself: no provider outside may give them. */
const RESERVED = /^system:/

/**
 * Signing in by OpenID Connect: authorization code with PKCE, state and nonce, the ID token's signature checked. Of the
 * answer only who it is and in which groups is kept; what they may do is asked of the Kubernetes API, as often as for anybody.
 */
export class OidcSignIn implements ForeignSignIn {
  readonly name: string
  readonly #options: OidcSignInOptions
  readonly #flights = new Map<string, Flight>()
  #provider: Promise<Configuration> | undefined

  constructor(options: OidcSignInOptions) {
    this.#options = options
    this.name = new URL(options.config.issuer).host
  }

  /** Throws SLUICE_OIDC_PROVIDER when the provider cannot be asked. */
  async begin(redirectUri: string, anew: boolean): Promise<{ readonly url: string; readonly secret: string }> {
    const client = await import('openid-client')
    const provider = await this.#discover()
    const flight: Flight = {
      verifier: client.randomPKCECodeVerifier(),
      state: client.randomState(),
      nonce: client.randomNonce(),
      redirectUri,
      untilMs: this.#options.clock.monotonic() + FLIGHT_MS,
    }
    const url = client.buildAuthorizationUrl(provider, {
      redirect_uri: redirectUri,
      scope: scopeFor(provider.serverMetadata().scopes_supported),
      code_challenge: await client.calculatePKCECodeChallenge(flight.verifier),
      code_challenge_method: 'S256',
      state: flight.state,
      nonce: flight.nonce,
      ...(anew ? { prompt: 'login' } : {}),
    })
    this.#sweep()
    const secret = randomBytes(32).toString('base64url')
    this.#flights.set(digestOf(secret), flight)
    return { url: url.href, secret }
  }

  /** Throws SLUICE_OIDC_REFUSED for an answer that is not the one to `secret`'s question, SLUICE_OIDC_NO_ROLE. */
  async end(query: string, secret: string): Promise<Identity> {
    const key = digestOf(secret)
    const flight = this.#flights.get(key)
    // One question, one answer, whatever becomes of it.
    this.#flights.delete(key)
    if (flight === undefined || flight.untilMs <= this.#options.clock.monotonic()) {
      throw new SluiceError('SLUICE_OIDC_REFUSED', 'This sign-in was not begun here, or too long ago', {
        hint: 'Begin again.',
      })
    }
    const person = this.#personOf(await this.#claims(flight, query))
    const role = await this.#options.roleOf(person)
    if (role === undefined) {
      throw new SluiceError('SLUICE_OIDC_NO_ROLE', `'${person.name}' may not list devices`, {
        hint: `An administrator gives a role: kubectl create clusterrolebinding NAME --clusterrole=sluice-viewer --user='${person.name}'`,
      })
    }
    return { name: person.name, role, recheck: () => this.#options.roleOf(person) }
  }

  async #claims(flight: Flight, query: string): Promise<IDToken> {
    const client = await import('openid-client')
    const back = new URL(flight.redirectUri)
    back.search = query
    try {
      const tokens = await client.authorizationCodeGrant(await this.#discover(), back, {
        pkceCodeVerifier: flight.verifier,
        expectedState: flight.state,
        expectedNonce: flight.nonce,
        idTokenExpected: true,
      })
      const claims = tokens.claims()
      if (claims !== undefined) return claims
    } catch (thrown) {
      // The cause may quote tokens: its words stay out of logs and answers.
      const said = thrown instanceof client.AuthorizationResponseError ? thrown.error : undefined
      throw new SluiceError(
        'SLUICE_OIDC_REFUSED',
        `The OpenID provider did not confirm who you are${said === undefined ? '' : `: ${said}`}`,
        {
          hint: 'Begin again.',
        },
      )
    }
    throw new SluiceError('SLUICE_OIDC_REFUSED', 'The OpenID provider did not say who you are', {
      hint: 'Begin again.',
    })
  }

  #personOf(claims: IDToken): Person {
    const { usernameClaim, usernamePrefix, groupsClaim, groupsPrefix } = this.#options.config
    const name = claims[usernameClaim]
    if (typeof name !== 'string' || name === '' || name.length > 256) throw noName(usernameClaim)
    // As kube-apiserver has it: an address that nobody has verified is nobody's.
    if (usernameClaim === 'email' && claims['email_verified'] === false) throw noName('email (verified)')
    const full = `${usernamePrefix}${name}`
    if (RESERVED.test(full)) throw noName(usernameClaim)
    const given = claims[groupsClaim]
    const groups = (Array.isArray(given) ? given : [given])
      .filter((group) => typeof group === 'string' && group !== '')
      .map((group) => `${groupsPrefix}${String(group)}`)
      .filter((group) => !RESERVED.test(group))
      .slice(0, 256)
    return { name: full, groups: [...groups, 'system:authenticated'] }
  }

  #discover(): Promise<Configuration> {
    this.#provider ??= this.#ask().catch((thrown: unknown) => {
      this.#provider = undefined
      const { issuer } = this.#options.config
      throw new SluiceError('SLUICE_OIDC_PROVIDER', `The OpenID provider ${issuer} cannot be asked`, {
        cause: thrown,
        hint: `${toSluiceError(thrown).message}. Codes of 'sluice console' and tokens work without it.`,
      })
    })
    return this.#provider
  }

  async #ask(): Promise<Configuration> {
    const client = await import('openid-client')
    const { issuer, clientId, clientSecret, caPem } = this.#options.config
    const provider = await client.discovery(
      new URL(issuer),
      clientId,
      undefined,
      clientSecret === undefined ? client.None() : client.ClientSecretBasic(clientSecret),
      { [client.customFetch]: fetchWithAuthority(caPem) },
    )
    client.enableNonRepudiationChecks(provider)
    return provider
  }

  #sweep(): void {
    const nowMs = this.#options.clock.monotonic()
    for (const [key, { untilMs }] of this.#flights) if (untilMs <= nowMs) this.#flights.delete(key)
    const oldest = this.#flights.keys().next()
    if (this.#flights.size >= MAX_FLIGHTS && oldest.done !== true) this.#flights.delete(oldest.value)
  }
}

/** What is asked for beside the identity, of what the provider has: a scope it does not know may be an error to it. */
const scopeFor = (supported: readonly string[] | undefined): string =>
  ['openid', ...['profile', 'email', 'groups'].filter((scope) => supported?.includes(scope) === true)].join(' ')

const noName = (claim: string) =>
  new SluiceError('SLUICE_OIDC_REFUSED', `The OpenID provider gave no name that can be used: claim '${claim}'`, {
    hint: 'An administrator picks another claim: --oidc-username-claim.',
  })

const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('base64url')
