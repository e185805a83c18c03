import { readdirSync, readFileSync } from 'node:fs'

/** Names in a folder of sysfs, sorted; none when it is not there. For `discover`, never for a sample. */
export function namesIn(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch {
    return []
  }
}

/** A short text file, trimmed; undefined when it cannot be read or is empty. For `discover`, never for a sample. */
export function textOf(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'latin1').replaceAll('\0', '').trim()
    return text === '' ? undefined : text
  } catch {
    return undefined
  }
}

export function numberOf(path: string): number | undefined {
  const text = textOf(path)
  const value = text === undefined ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}
