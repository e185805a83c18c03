import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import type { ScanLine } from '../mappers/modbus/scan.ts'

const BY_ID = '/dev/serial/by-id'
const PARITIES = ['none', 'even', 'odd'] as const

const wrong = (option: string, text: string, hint: string) =>
  new SluiceError('SLUICE_CLI_OPTION_VALUE', `Option '--${option}' does not take '${text}'`, { hint })

/** `1-10,20` as numbers in this order, none twice. */
export function unitList(text: string, min: number, max: number): number[] {
  const hint = `Write numbers and ranges from ${min} to ${max}: 1-10,20,100-120.`
  const units = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,3})(?:-(\d{1,3}))?\s*$/.exec(part)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || first < min || last > max || first > last) throw wrong('units', text, hint)
    for (let unit = first; unit <= last; unit++) units.add(unit)
  }
  return [...units]
}

/** Every combination of the settings, the first baud rate with every parity first. */
export function serialLines(path: string, bauds: string, parities: string): ScanLine[] {
  const parityWords = parities.split(',').map((word) => {
    const parity = PARITIES.find((known) => known === word.trim())
    if (parity === undefined) throw wrong('parity', parities, 'Write none, even, odd or several of them: none,even.')
    return parity
  })
  return bauds.split(',').flatMap((word) => {
    const baud = Number(word)
    if (!/^\s*\d{2,7}\s*$/.test(word) || baud < 50 || baud > 4_000_000) {
      throw wrong('bauds', bauds, 'Write bits per second: 9600 or 9600,19200.')
    }
    return parityWords.map((parity) => ({ kind: 'serial', path, baud, parity }) as const)
  })
}

/** What will be asked, and how long it takes when nobody answers, so that a person can wait or ask for less. */
export function atMostWords(lines: readonly ScanLine[], units: number, timeoutMs: number): string {
  const seconds = Math.ceil((lines.length * units * timeoutMs) / 1000)
  const time = seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
  const settings = lines.length === 1 ? '' : ` with ${lines.length} settings`
  const less =
    seconds < 20 ? '' : lines.length === 1 ? '; --units asks fewer' : '; --units, --bauds and --parity ask less'
  return `Asking ${units} ${units === 1 ? 'unit' : 'units'}${settings}: at most about ${time}${less}.`
}

/** `HOST`, `HOST:PORT` or `[IPv6]:PORT`. */
export function hostLine(text: string): ScanLine {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+))(?::(\d{1,5}))?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3] ?? 502)
  if (host === undefined || port < 1 || port > 65_535) {
    throw wrong('host', text, 'Write a name or an address, with a port where it is not 502: 192.168.1.20:1502.')
  }
  return { kind: 'tcp', host, port }
}

/** Serial adapters under the names that survive re-plugging. */
export const serialAdapters = (folder = BY_ID): string[] =>
  existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []

/** The lasting name of a serial port, where it has one. */
export function lastingName(path: string, folder = BY_ID): string {
  const real = realPath(path)
  return serialAdapters(folder).find((name) => realPath(name) === real) ?? path
}

/** Whether two paths lead to the same port. */
export const samePort = (a: string, b: string): boolean => realPath(a) === realPath(b)

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
