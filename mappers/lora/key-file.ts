import { readFileSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import { readSecretFile } from '../sdk/secret-file.ts'

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

function readSmallFile(path: string): string {
  try {
    return readSecretFile(path)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('SLUICE_LORA_KEY_FILE', `cannot read ${path}: ${why}`, {
      hint: 'Give the path of a small file on the gateway that the agent and nobody else may read: chmod 600.',
    })
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
