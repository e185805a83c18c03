import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'

const MAX_BYTES = 4096

export interface KeyTexts {
  readonly appKey?: string
  readonly devAddr?: string
  readonly nwkSKey?: string
  readonly appSKey?: string
}

const NAMES = ['appKey', 'devAddr', 'nwkSKey', 'appSKey'] as const

/**
 * Keys of one device from a file on the gateway: `name: hex` a line (`#` starts a remark), or one AppKey alone.
 * @throws SluiceError `SLUICE_LORA_KEY_FILE`; neither message nor cause shows what is in the file.
 */
export function readKeyFile(path: string): KeyTexts {
  return parseKeyFile(readSmallFile(path), path)
}

export function parseKeyFile(text: string, path: string): KeyTexts {
  const found: Record<string, string> = {}
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/#.*/, '').trim()
    if (line === '') continue
    const [, name, value] = /^(?:([A-Za-z]+)\s*[:=]\s*)?([0-9A-Fa-f][0-9A-Fa-f:\s-]*)$/.exec(line) ?? []
    const known = name === undefined ? 'appKey' : NAMES.find((each) => each.toLowerCase() === name.toLowerCase())
    if (value === undefined || known === undefined) {
      throw new SluiceError('SLUICE_LORA_KEY_FILE', `line ${index + 1} of ${path} is no key`, {
        hint: 'Write lines such as `appKey: 00112233445566778899AABBCCDDEEFF`.',
      })
    }
    found[known] = value
  }
  return found
}

/** The first line of a small file: a password. @throws SluiceError `SLUICE_LORA_KEY_FILE`. */
export const readPasswordFile = (path: string): string => (readSmallFile(path).split('\n')[0] ?? '').trim()

export function readSmallFile(path: string): string {
  let file: number | undefined
  try {
    // Without waiting: opening a pipe that nobody writes to would stop the whole agent.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if (!fstatSync(file).isFile()) throw new Error('it is no regular file')
    const buffer = Buffer.alloc(MAX_BYTES + 1)
    const length = readSync(file, buffer, 0, buffer.length, 0)
    if (length > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`)
    return buffer.toString('utf8', 0, length)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('SLUICE_LORA_KEY_FILE', `cannot read ${path}: ${why}`, {
      hint: 'Give the path of a small file on the gateway that the agent may read, mode 0600.',
    })
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** A certificate authority, as PEM. @throws SluiceError `SLUICE_LORA_KEY_FILE`. */
export function readCertificate(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('SLUICE_LORA_KEY_FILE', `cannot read ${path}: ${why}`, {
      hint: 'Give the path of a PEM file on the gateway.',
    })
  }
}
