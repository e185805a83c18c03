import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Encrypts what must not be readable in the store's file, its log and its copies: AES-256-GCM with a key that is in a
 * file of its own, readable by this user only. Whoever has both files, or the running machine, has the secrets; whoever
 * has a copy of the database does not. `about` is bound to the text, so that one secret cannot be passed for another.
 */
export class Seal {
  readonly #path: string
  #key: Buffer | undefined

  constructor(directory: string) {
    this.#path = join(directory, 'secrets.key')
  }

  close(text: string, about: string): string {
    this.#key ??= readKey(this.#path) ?? this.#makeKey()
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(about))
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64')
  }

  /** The text; throws `SLUICE_STORE_SEAL` when the key is another one or the text was changed. */
  open(sealed: string, about: string): string {
    try {
      this.#key ??= readKey(this.#path)
      if (this.#key === undefined) throw new Error(`${this.#path} is missing`)
      const bytes = Buffer.from(sealed, 'base64')
      const nonce = bytes.subarray(0, NONCE_BYTES)
      const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
      return decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
    } catch (cause) {
      throw new SluiceError('SLUICE_STORE_SEAL', `${about} in the store cannot be decrypted with ${this.#path}`, {
        hint: 'Bring secrets.key back beside agent.db, or let the hub send the secret again.',
        cause,
      })
    }
  }

  #makeKey(): Buffer {
    const key = randomBytes(KEY_BYTES)
    writeFileSync(this.#path, key, { mode: 0o600, flag: 'wx', flush: true })
    return key
  }
}

function readKey(path: string): Buffer | undefined {
  let key: Buffer
  try {
    key = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  if (key.length !== KEY_BYTES) {
    throw new SluiceError('SLUICE_STORE_SEAL', `${path} has ${key.length} bytes, a key has ${KEY_BYTES}`, {
      hint: 'Bring the right secrets.key back, or remove it: the hub sends the secrets again.',
    })
  }
  return key
}
