import { createHash } from 'node:crypto'

/** What a label may hold, so that the name can stand in one, too (RFC 1123). */
const MAX_LENGTH = 63
const HASH_LENGTH = 10

const words = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')

/**
 * Name of the DiscoveredDevice for what a gateway saw: readable, valid whatever the id is made of, and another one for
 * every gateway, protocol and id, so that no gateway writes into what another one saw.
 */
export function discoveredName(gateway: string, protocol: string, id: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([gateway, protocol, id]))
    .digest('hex')
    .slice(0, HASH_LENGTH)
  const readable = words(`${protocol}-${id}`)
    .slice(0, MAX_LENGTH - HASH_LENGTH - 1)
    .replace(/-$/, '')
  return readable === '' ? `d-${hash}` : `${readable}-${hash}`
}
