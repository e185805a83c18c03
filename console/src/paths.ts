import type { Signed } from './route.ts'

/** Where a gateway is asked for what only it knows: itself, or the cloud core that asks it. */
export const gatewayPath = ({ kind }: Pick<Signed, 'kind'>, gateway: string, what: string): string =>
  kind === 'gateway' ? `/v1/${what}` : `/v1/gateways/${encodeURIComponent(gateway)}/${what}`

export const podsPath = ({ kind }: Pick<Signed, 'kind'>, gateway: string): string =>
  kind === 'gateway' ? '/v1/pods' : `/v1/pods?node=${encodeURIComponent(gateway)}`

/** `a/b` as parts of a path. */
export const keyPath = (key: string): string => key.split('/').map(encodeURIComponent).join('/')
