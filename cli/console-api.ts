import { type Endpoint, requestJson } from '../api/client/http.ts'
import { cloudEndpoint, dataFolder } from './device-api.ts'

/** What `POST /v1/tokens` answers. */
export interface CreatedToken {
  readonly token: string
  readonly gateway: string
  readonly expiresAt: string
}

/** One of `GET /v1/tokens`. */
export interface TokenView {
  readonly id: string
  readonly gateway: string
  readonly expiresAt: string
  readonly state: 'unused' | 'used' | 'expired'
}

/** The part of the cloud core's API that manages gateways; it takes the operator's token of cloud.json. */
export class ConsoleApi {
  readonly endpoint: Endpoint

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
  }

  /** A token for one gateway, usable once within `ttlMs`. */
  createToken(gateway: string, ttlMs: number, signal: AbortSignal): Promise<CreatedToken> {
    const body = { gateway, ttlMs }
    return requestJson<CreatedToken>(this.endpoint, { method: 'POST', path: '/v1/tokens', body, signal })
  }

  async tokens(signal: AbortSignal): Promise<readonly TokenView[]> {
    const { items } = await requestJson<{ items: TokenView[] }>(this.endpoint, { path: '/v1/tokens', signal })
    return items
  }

  /** Makes an unused token worthless, by its id, or all unused ones of a gateway. */
  revokeToken(idOrGateway: string, signal: AbortSignal): Promise<{ readonly revoked: number }> {
    const path = `/v1/tokens/${encodeURIComponent(idOrGateway)}`
    return requestJson<{ revoked: number }>(this.endpoint, { method: 'DELETE', path, signal })
  }

  /** Makes every certificate of a gateway worthless and cuts its connection; answers how many there were. */
  revokeGateway(gateway: string, signal: AbortSignal): Promise<{ readonly revoked: number }> {
    const path = `/v1/gateways/${encodeURIComponent(gateway)}/revoke`
    return requestJson<{ revoked: number }>(this.endpoint, { method: 'POST', path, body: {}, signal })
  }
}

export const openConsole = (data: string | undefined, env: Readonly<Record<string, string | undefined>>): ConsoleApi =>
  new ConsoleApi(cloudEndpoint(dataFolder(data, env)))
