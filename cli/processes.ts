import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AGENT_ENVIRONMENT, AGENT_FLAGS } from '../agent/launch.ts'
import { SluiceError } from '../api/errors.ts'
import { CLOUD_FLAGS } from '../cloudcore/launch.ts'
import { dataFolder } from './device-api.ts'
import { findOnPath } from './find-on-path.ts'
import { EXIT, type ExitCode } from './verb.ts'

/** What runs as a process of its own. */
export type Part = 'agent' | 'cloud' | 'plant' | 'board'

export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  /** What the part's environment has beyond its parent's. */
  readonly env: Readonly<Record<string, string>>
}

/** In development the sources run as they are; in the package each part is a bundle beside this one. */
const SOURCES: Readonly<Record<Part, string>> = {
  agent: '../agent/main.ts',
  cloud: '../cloudcore/main.ts',
  plant: '../demo/plant.ts',
  board: '../hil/boards/board-main.ts',
}

/**
 * Makes the agent end when its standard input closes, which it does when its parent dies of anything at all. Given as
 * an import, since a gateway's own agent must not care about its input. The other parts look after that themselves.
 */
const END_WITH_PARENT =
  "data:text/javascript,process.stdin.once('close',()=>process.kill(process.pid,'SIGTERM')).resume()"

/** Command line of a child that ends with this process. */
export function childLaunchOf(part: Part, args: readonly string[]): Launch {
  const launch = launchOf(part, args)
  return part === 'agent' ? { ...launch, args: ['--import', END_WITH_PARENT, ...launch.args] } : launch
}

/** Command line of a part. */
export function launchOf(part: Part, args: readonly string[]): Launch {
  const inPackage = !import.meta.url.endsWith('.ts')
  const file = fileURLToPath(new URL(inPackage ? `./${part}.js` : SOURCES[part], import.meta.url))
  if (!existsSync(file)) {
    throw new SluiceError('SLUICE_CLI_PART_MISSING', `The program file of the ${part} is missing: ${file}`, {
      hint: 'Install the package once more: npm install.',
    })
  }
  if (part === 'plant' || part === 'board') return { command: process.execPath, args: [file, ...args], env: {} }
  if (part === 'cloud') return { command: process.execPath, args: [...CLOUD_FLAGS, file, ...args], env: {} }
  return { command: process.execPath, args: [...AGENT_FLAGS, file, ...args], env: AGENT_ENVIRONMENT }
}

/** The demo's YAML files; they lie beside the sources and in the package alike. */
export const demoFolder = (): string => fileURLToPath(new URL('../demo/', import.meta.url))

/** The Node-RED nodes; beside the sources and in the package alike. */
export const nodesFolder = (): string => fileURLToPath(new URL('../node-red/', import.meta.url))

/**
 * Turns this process into a part, so that a service manager sees one process and its signals reach the part itself.
 * Where a process cannot be replaced (not on Linux or macOS), a child is started and waited for.
 */
export async function becomePart(
  part: Part,
  data: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  args: readonly string[],
): Promise<ExitCode> {
  const { command, args: all, env: added } = launchOf(part, ['--data', dataFolder(data, env), ...args])
  const clean = Object.fromEntries(
    Object.entries({ ...env, ...added }).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
  if (process.platform !== 'win32') process.execve?.(command, [command, ...all], clean)
  const child = spawn(command, all, { stdio: 'inherit', env: clean })
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (exitCode) => resolve(exitCode ?? EXIT.failure))
  })
  return code === 0 ? EXIT.ok : EXIT.failure
}

/** How a user can type this command here: by its name where the shell finds it, else by the path of its file. */
export function commandName(env: Readonly<Record<string, string | undefined>>): string {
  if (findOnPath('sluice', env['PATH'] ?? '') !== undefined) return 'sluice'
  const file = relative(process.cwd(), fileURLToPath(new URL('../bin/sluice.mjs', import.meta.url)))
  return file.startsWith('..') ? 'npx sluice' : file
}
