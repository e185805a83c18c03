import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'

/**
 * The keys that firmware is signed with. A folder of keys holds `current.pem` and, from the first rotation on,
 * `next.pem`: bootloaders are built with the public halves of both, so that a release signed with the next key reaches
 * boards in the field before the current one is retired. Private keys stay where releases are made, never on a gateway.
 */

const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex')
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** A public key that images are checked against. */
export interface PublicKey {
  /** 32 bytes. */
  readonly raw: Uint8Array
  /** Anybody has the private half. */
  readonly development: boolean
}

/** SHA-256 of the SubjectPublicKeyInfo: how an image names its key. */
export function keyHash(key: PublicKey): Uint8Array {
  return createHash('sha256').update(SPKI_ED25519).update(key.raw).digest()
}

export const publicKeyObject = (key: PublicKey): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI_ED25519, key.raw]), format: 'der', type: 'spki' })

function rawPublic(key: KeyObject): Uint8Array {
  const half = key.type === 'public' ? key : createPublicKey(key)
  return half.export({ format: 'der', type: 'spki' }).subarray(SPKI_ED25519.length)
}

/**
 * The private key of which everybody knows that it is none: for emulators and the first hour with a board. Boards that
 * are built for production refuse it, and nothing signs with it for them.
 */
export function developmentKey(): KeyObject {
  const seed = createHash('sha256').update('sluice development key: signs nothing that matters').digest()
  return createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' })
}

/** The public half of a key, marked when it is the development key. */
export function publicKeyOf(key: KeyObject): PublicKey {
  const raw = rawPublic(key)
  return { raw, development: Buffer.compare(raw, rawPublic(developmentKey())) === 0 }
}

/** Throws unless only its owner may read a file with a private key. */
async function checkMode(path: string): Promise<void> {
  const { mode, uid } = await stat(path)
  const own = process.getuid === undefined || uid === process.getuid() || process.getuid() === 0
  if ((mode & 0o077) !== 0 || !own) {
    throw new SluiceError('SLUICE_FW_KEY_MODE', `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`, {
      hint: `Run "chmod 600 ${path}". If others had access to it, make a new key and rotate.`,
    })
  }
}

/** Reads a private Ed25519 key in PEM, as `sluice fw key new` and imgtool write it. */
export async function readPrivateKey(path: string): Promise<KeyObject> {
  let pem: string
  try {
    await checkMode(path)
    pem = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause
    throw new SluiceError('SLUICE_FW_KEY', `no key can be read from ${path}`, {
      hint: 'Make one with "sluice fw key new", or give the path of yours.',
      cause,
    })
  }
  return parseKey(pem, path, createPrivateKey)
}

/** Reads a public key in PEM; a private one will do, and only its public half is kept. */
export async function readPublicKey(path: string): Promise<PublicKey> {
  const pem = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new SluiceError('SLUICE_FW_KEY', `no key can be read from ${path}`, {
      cause,
      hint: 'Give the path of a PEM file.',
    })
  })
  return publicKeyOf(parseKey(pem, path, createPublicKey))
}

function parseKey(pem: string, path: string, parse: (pem: string) => KeyObject): KeyObject {
  let key: KeyObject | undefined
  try {
    key = parse(pem)
  } catch {
    // The parser's own words may quote the key.
  }
  if (key?.asymmetricKeyType !== 'ed25519') {
    throw new SluiceError('SLUICE_FW_KEY', `${path} holds no Ed25519 key in PEM`, {
      hint: 'Make one with "sluice fw key new" or "imgtool keygen -t ed25519"; keys with a passphrase are not read.',
    })
  }
  return key
}

export interface KeyFolder {
  readonly current: PublicKey
  readonly next: PublicKey | undefined
}

const privatePath = (folder: string, role: 'current' | 'next'): string => join(folder, `${role}.pem`)

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** Writes a new private key with mode 0600, and its public half beside it. Refuses to replace one. */
async function writeNewKey(folder: string, role: 'current' | 'next'): Promise<PublicKey> {
  const path = privatePath(folder, role)
  const { privateKey } = generateKeyPairSync('ed25519')
  const draft = `${path}.${process.pid}.tmp`
  try {
    await using file = await open(draft, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600)
    await file.writeFile(privateKey.export({ format: 'pem', type: 'pkcs8' }))
    await file.sync()
    // A hard link fails where a rename would silently replace somebody's only key.
    await link(draft, path)
  } catch (cause) {
    throw notWritten(path, cause)
  } finally {
    await rm(draft, { force: true })
  }
  await writePublic(folder, role, publicKeyOf(privateKey))
  return publicKeyOf(privateKey)
}

function notWritten(path: string, cause: unknown): SluiceError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason'
  if (code === 'EEXIST')
    return new SluiceError('SLUICE_FW_KEY_EXISTS', `${path} exists and is not replaced`, {
      hint: 'Rotate it with "sluice fw key rotate", or give another folder.',
      cause,
    })
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new SluiceError('SLUICE_FW_KEY', `${path} cannot be written (${code})`, {
    hint: full ? 'The disk is full: free some space, or give another folder.' : 'Give a folder that you may write to.',
    cause,
  })
}

async function writePublic(folder: string, role: 'current' | 'next', key: PublicKey): Promise<void> {
  await writeFile(join(folder, `${role}.pub.pem`), publicKeyObject(key).export({ format: 'pem', type: 'spki' }))
}

/** `sluice fw key new`: a folder (mode 0700) with a current key. */
export async function newKeys(folder: string): Promise<KeyFolder> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return { current: await writeNewKey(folder, 'current'), next: undefined }
}

/** What a folder of keys holds; private files of it that others may read are an error. */
export async function readKeys(folder: string): Promise<KeyFolder> {
  const read = async (role: 'current' | 'next') => publicKeyOf(await readPrivateKey(privatePath(folder, role)))
  return {
    current: await read('current'),
    next: (await exists(privatePath(folder, 'next'))) ? await read('next') : undefined,
  }
}

/**
 * `sluice fw key rotate`. The first time it makes the next key, whose public half goes into the bootloaders of new boards.
 * Once there is one, it becomes the current key, the old one is kept as `retired-<date>.pem`, and a new next key is made.
 * `today` is an ISO date.
 */
export async function rotateKeys(folder: string, today: string): Promise<KeyFolder> {
  const known = await readKeys(folder)
  if (known.next === undefined) return { current: known.current, next: await writeNewKey(folder, 'next') }
  const retired = join(folder, `retired-${today}.pem`)
  if (await exists(retired)) {
    throw new SluiceError('SLUICE_FW_KEY_EXISTS', `${retired} exists: the keys were rotated today`, {
      hint: 'Rotating twice a day would retire a key that no board has seen. Move that file away if it is what you want.',
    })
  }
  await link(privatePath(folder, 'current'), retired)
  await rename(privatePath(folder, 'next'), privatePath(folder, 'current'))
  await writePublic(folder, 'current', known.next)
  return { current: known.next, next: await writeNewKey(folder, 'next') }
}
