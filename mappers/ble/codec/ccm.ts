import { createDecipheriv } from 'node:crypto'

const MIC_BYTES = 4

/**
 * Opens AES-128-CCM with a four byte MIC, as advertisements use it (RFC 3610). Undefined when the MIC is wrong: the
 * key is another one, or the bytes were changed.
 */
export function openCcm(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  mic: Uint8Array,
  associated?: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv('aes-128-ccm', key, nonce, { authTagLength: MIC_BYTES })
  decipher.setAuthTag(mic)
  if (associated !== undefined) decipher.setAAD(associated, { plaintextLength: sealed.length })
  try {
    const open = decipher.update(sealed)
    decipher.final()
    return open
  } catch {
    return undefined
  }
}
