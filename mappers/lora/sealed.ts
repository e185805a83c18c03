import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { LoraKey } from './keys.ts'

const IV_BYTES = 12
const TAG_BYTES = 16

const sealingKey = (root: LoraKey, context: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', root.export(), context, 'sluice lora session', 32))

/**
 * Encrypts what is kept of a session under a key derived from the device's own root key: whoever copies the gateway's
 * store but not the device's key reads no session key. AES-256-GCM; `context` (the DevEUI) is bound to it.
 */
export function seal(root: LoraKey, context: string, text: string): string {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', sealingKey(root, context), iv)
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64')
}

/** Undefined when it was sealed with another key, for another device, or was damaged. */
export function unseal(root: LoraKey, context: string, sealed: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64')
  if (bytes.length < IV_BYTES + TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(root, context), bytes.subarray(0, IV_BYTES))
  decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8')
  } catch {
    return undefined
  }
}
