import { getCACertificates, setDefaultCACertificates } from 'node:tls'

let trusted = false

/**
 * To be called before TLS to somebody else's server (a broker, a registry, a web page), from where only its own authority or
 * the public ones are known. The agent starts with `--use-openssl-ca`, because its link trusts one authority alone and the
 * public ones, parsed at the first use of TLS, cost 1.3 MiB: here they come back, for those gateways that need them.
 */
export function trustPublicAuthorities(): void {
  if (trusted) return
  trusted = true
  const given = getCACertificates('default')
  setDefaultCACertificates([...new Set([...given, ...getCACertificates('bundled'), ...getCACertificates('extra')])])
}
