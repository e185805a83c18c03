import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../../api/errors.ts'
import type { RuntimeName } from './runtime.ts'

/** A runtime that a gateway is told to use. */
export interface ChosenRuntime {
  readonly name: EngineName
  /** Where it listens, when not at the usual place. */
  readonly socket?: string
}

export type EngineName = Exclude<RuntimeName, 'wasm'>

/** The first is where pods run; the others are for pods that name them as `runtimeClassName`. */
export type RuntimeChoice = readonly [usual: ChosenRuntime, ...others: ChosenRuntime[]]

export const SOCKETS = { containerd: '/run/containerd/containerd.sock', podman: '/run/podman/podman.sock' } as const

const ENGINES: readonly EngineName[] = ['process', 'containerd', 'podman']
const PATHS = ['/usr/bin/bwrap', '/bin/bwrap']

/**
 * What `--pods` says: `off`, `auto`, or names with a comma between them, an engine's with `=PATH` where its socket is
 * elsewhere. Undefined: no pods run here. Looks at a few files and loads nothing. Throws `SLUICE_POD_MODE`.
 */
export function chooseRuntimes(
  mode: string | undefined,
  fileExists: (path: string) => boolean = existsSync,
): RuntimeChoice | undefined {
  if (mode === undefined || mode === 'off') return undefined
  if (mode === 'auto') {
    if (PATHS.some((path) => fileExists(path))) return [{ name: 'process' }]
    for (const name of ['containerd', 'podman'] as const) if (fileExists(SOCKETS[name])) return [{ name }]
    return undefined
  }
  const chosen = mode.split(',').map((part): ChosenRuntime => {
    const [name = '', ...rest] = part.trim().split('=')
    const socket = rest.join('=')
    const engine = ENGINES.find((one) => one === name)
    if (engine === undefined || (rest.length > 0 && (engine === 'process' || !socket.startsWith('/')))) {
      throw wrong(mode, `'${part.trim()}' is no way to run pods`)
    }
    return { name: engine, ...(rest.length === 0 ? {} : { socket }) }
  })
  if (new Set(chosen.map(({ name }) => name)).size < chosen.length) throw wrong(mode, 'a runtime is named twice')
  const [usual, ...others] = chosen
  return [usual!, ...others]
}

/** Folders that say that a runtime was in use here, and may have something left. */
export const runtimeFolders = (folder: string): string[] =>
  ['sandboxes', 'containerd', 'podman'].map((name) => join(folder, name))

const wrong = (mode: string, why: string): SluiceError =>
  new SluiceError('SLUICE_POD_MODE', `--pods ${mode.slice(0, 128)}: ${why}`, {
    hint: 'Give off, auto, process, containerd or podman; several with a comma, a socket as containerd=/path/to.sock.',
  })

/** As a Node shows it: `containerd://1.6.20`. Of an engine that cannot be asked, without a number. */
export function versionOf({ name }: ChosenRuntime, ownVersion: string): string {
  if (name === 'process') return `process://${ownVersion}`
  try {
    const said = execFileSync(name, ['--version'], {
      encoding: 'utf8',
      timeout: 2000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return `${name}://${/\d+\.\d+[\w.~+-]*/.exec(said)?.[0] ?? ''}`
  } catch {
    return `${name}://`
  }
}
