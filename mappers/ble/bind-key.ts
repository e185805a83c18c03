import { readFile } from 'node:fs/promises'
import type { DeviceConfig } from './device-config.ts'

const MAX_FILE = 4096

/** Reads the key of a device. Never puts a part of the key into words. */
export async function readBindKey(
  bindKey: NonNullable<DeviceConfig['bindKey']>,
): Promise<Uint8Array | { readonly problem: string }> {
  if ('hex' in bindKey) return Uint8Array.from(Buffer.from(bindKey.hex, 'hex'))
  let text: string
  try {
    text = (await readFile(bindKey.file, 'utf8')).slice(0, MAX_FILE).trim()
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unreadable'
    return { problem: `the bindKeyFile ${bindKey.file} cannot be read (${code})` }
  }
  if (!/^[0-9A-Fa-f]{32}$/.test(text)) return { problem: `the bindKeyFile ${bindKey.file} does not hold 32 hex digits` }
  return Uint8Array.from(Buffer.from(text, 'hex'))
}
