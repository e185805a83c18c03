import { createRequire } from 'node:module'
import type library from 'lora-packet'

/**
 * lora-packet, a LoRaWAN codec by others: what our own is held against. Its types promise a `default` that its
 * CommonJS module does not have, so it is required as it is.
 */
export const oracle: typeof library.default = createRequire(import.meta.url)('lora-packet')
