import { readSecretFile } from '../sdk/secret-file.ts'
import type { DeviceConfig } from './device-config.ts'

/** Digits of a passkey, Bluetooth Core 5.4, Vol 3 Part H 2.3.5.1. */
const PASSKEY = /^[0-9]{6}$/

/** Reads the key of a device. Never puts a part of the key into words. */
export async function readBindKey(
  bindKey: NonNullable<DeviceConfig['bindKey']>,
): Promise<Uint8Array | { readonly problem: string }> {
  if ('hex' in bindKey) return Uint8Array.from(Buffer.from(bindKey.hex, 'hex'))
  const text = await readSecret('bindKeyFile', bindKey.file)
  if (typeof text !== 'string') return text
  if (!/^[0-9A-Fa-f]{32}$/.test(text)) return { problem: `the bindKeyFile ${bindKey.file} does not hold 32 hex digits` }
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

/** Reads the passkey of a device, 0 to 999999. Never puts it into words. */
export async function readPasskey(file: string): Promise<number | { readonly problem: string }> {
  const text = await readSecret('passkeyFile', file)
  if (typeof text !== 'string') return text
  return PASSKEY.test(text) ? Number(text) : { problem: `the passkeyFile ${file} does not hold six digits` }
}

async function readSecret(what: string, file: string): Promise<string | { readonly problem: string }> {
  try {
    return readSecretFile(file).trim()
  } catch (thrown) {
    return {
      problem: `the ${what} ${file} cannot be read (${thrown instanceof Error ? thrown.message : 'unreadable'})`,
    }
  }
}
