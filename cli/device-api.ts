import { existsSync, readFileSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { DeviceApi } from '../api/client/device-api.ts'
import type { Endpoint } from '../api/client/http.ts'
import { SluiceError } from '../api/errors.ts'
import type { OptionSpecs } from './verb.ts'

/** Options of every verb that talks to a running agent or cloud core. */
export const TARGET_OPTIONS = {
  data: { kind: 'text', value: 'DIR', help: 'Folder of the agent or cloud core (also: SLUICE_DATA).' },
  cloud: { kind: 'flag', help: 'Ask the cloud core although an agent runs here.' },
} as const satisfies OptionSpecs

export const DEFAULT_DATA = '.sluice'

export const dataFolder = (given: string | undefined, env: Readonly<Record<string, string | undefined>>): string =>
  resolve(given ?? env['SLUICE_DATA'] ?? DEFAULT_DATA)

export const socketPath = (data: string): string => join(data, 'agent.sock')
export const cloudFile = (data: string): string => join(data, 'cloud.json')

/** `name` is `default/name`; `namespace/name` stays. */
export function deviceKey(text: string): string {
  const parts = text.replace(/^device\//, '').split('/')
  const [namespace, name] = parts.length === 1 ? ['default', parts[0]] : parts
  const valid = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
  if (parts.length > 2 || !valid.test(namespace ?? '') || !valid.test(name ?? '')) {
    throw new SluiceError('SLUICE_CLI_DEVICE_NAME', `'${text}' is no device name`, {
      hint: "Write NAME or NAMESPACE/NAME; 'sluice device ls' lists them.",
    })
  }
  return `${namespace}/${name}`
}

/** The cloud core as its own file in the data folder describes it. */
export function cloudEndpoint(data: string): Endpoint {
  const file = cloudFile(data)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SluiceError('SLUICE_CLI_NO_CLOUD_FILE', `There is no readable ${file}`, {
      hint: "Start the cloud core with 'sluice up' or 'sluice cloud', or name its folder with --data DIR.",
      cause,
    })
  }
  const url = field(text, ['consoleUrl', 'url'])
  if (url === undefined) {
    throw new SluiceError('SLUICE_CLI_CLOUD_FILE_INVALID', `${file} names no console address`, {
      hint: 'Start the cloud core once more; it writes the file anew.',
    })
  }
  const token = field(text, ['token']) ?? fileNamed(text, 'tokenFile', file)
  const caPem = field(text, ['caPem']) ?? fileNamed(text, 'caFile', file)
  return {
    kind: 'https',
    url,
    ...(token === undefined ? {} : { token: token.trim() }),
    ...(caPem === undefined ? {} : { caPem }),
  }
}

function field(text: string, names: readonly string[]): string | undefined {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof content !== 'object' || content === null) return undefined
  for (const name of names) {
    const value = (content as Record<string, unknown>)[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

function fileNamed(text: string, name: string, beside: string): string | undefined {
  const path = field(text, [name])
  return path === undefined ? undefined : readFileSync(isAbsolute(path) ? path : join(dirname(beside), path), 'utf8')
}

/** The agent of this folder when it is there, else the cloud core. */
export function openDeviceApi(
  options: { readonly data: string | undefined; readonly cloud: boolean },
  env: Readonly<Record<string, string | undefined>>,
): DeviceApi {
  const data = dataFolder(options.data, env)
  const socket = socketPath(data)
  if (!options.cloud && existsSync(socket)) return new DeviceApi({ kind: 'socket', path: socket })
  if (options.cloud || existsSync(cloudFile(data))) return new DeviceApi(cloudEndpoint(data))
  throw new SluiceError('SLUICE_CLIENT_UNREACHABLE', `Neither an agent nor a cloud core keeps its data in ${data}`, {
    hint: "Start both with 'sluice up', or name their folder: --data DIR.",
  })
}
