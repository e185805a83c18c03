import { chownSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ContainerExit, SandboxSpec } from '../runtime.ts'
import type { ProcessMark } from './life-signs.ts'

/** What is remembered of a sandbox; `sandbox.json`. */
export interface SandboxRecord {
  readonly id: string
  readonly spec: SandboxSpec
  readonly createdMs: number
  /** User outside; undefined where the agent itself is not root. */
  readonly hostUser: number | undefined
  readonly holder: ProcessMark
}

/** A sandbox that was begun; `starting.json`. There without a `sandbox.json`, its agent was killed. */
export interface Starting {
  readonly id: string
  readonly group: string
}

/** What is remembered of a container; `container.json`. Its environment is not: secrets stay out of files. */
export interface ContainerRecord {
  readonly id: string
  readonly name: string
  readonly attempt: number
  readonly imageId: string
  readonly imageName: string
  readonly logFile: string
  readonly labels: Readonly<Record<string, string>>
  readonly createdMs: number
  readonly stopSignal: string
  /** See `boxArguments`; a command beside the program gets the same. */
  readonly box: readonly string[]
  /** Groups that own its device nodes; absent: it has none. */
  readonly groups?: readonly number[]
  readonly unconfinedSeccomp: boolean
  readonly oomScoreAdj: number
  /** Written before the start, so that a kill of the agent in between is noticed. */
  readonly starting?: boolean
  /** The first process inside is the program; absent: its child is. */
  readonly isFirst?: boolean
  /** It is among the processes of another container; absent: it has its own. */
  readonly guest?: boolean
  /** First process inside, and when it began. */
  readonly first?: ProcessMark
  readonly startedMs?: number
  readonly exit?: ContainerExit
}

/** Folder of all sandboxes: one folder each, with a folder for each container in it. Every write is whole or not there. */
export class Records {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o711 })
  }

  folderOf(sandboxId: string, containerId?: string): string {
    return containerId === undefined ? join(this.#folder, sandboxId) : join(this.#folder, sandboxId, containerId)
  }

  saveStarting(starting: Starting): void {
    save(join(this.folderOf(starting.id), 'starting.json'), starting)
  }

  saveSandbox(record: SandboxRecord): void {
    save(join(this.folderOf(record.id), 'sandbox.json'), record)
  }

  saveContainer(sandboxId: string, record: ContainerRecord): void {
    save(join(this.folderOf(sandboxId, record.id), 'container.json'), record)
  }

  removeSandbox(id: string): void {
    rmSync(this.folderOf(id), { recursive: true, force: true })
  }

  removeContainer(sandboxId: string, id: string): void {
    rmSync(this.folderOf(sandboxId, id), { recursive: true, force: true })
  }

  /** Sandboxes that an agent before this one began and did not finish; to be asked before `load`. */
  unfinished(): Starting[] {
    return foldersIn(this.#folder).flatMap((id) => {
      if (read(join(this.folderOf(id), 'sandbox.json')) !== undefined) return []
      const starting = read<Starting>(join(this.folderOf(id), 'starting.json'))
      return starting === undefined ? [] : [starting]
    })
  }

  /** What an agent before this one left. Folders without a readable record are remains of a kill and removed. */
  load(): { readonly sandbox: SandboxRecord; readonly containers: readonly ContainerRecord[] }[] {
    return foldersIn(this.#folder).flatMap((id) => {
      const sandbox = read<SandboxRecord>(join(this.folderOf(id), 'sandbox.json'))
      if (sandbox === undefined) {
        this.removeSandbox(id)
        return []
      }
      const containers = foldersIn(this.folderOf(id)).flatMap((containerId) => {
        const record = read<ContainerRecord>(join(this.folderOf(id, containerId), 'container.json'))
        return record === undefined ? [] : [record]
      })
      return [{ sandbox, containers }]
    })
  }
}

/** What bubblewrap wrote into its status file. */
export function readStatus(path: string): { readonly childPid?: number; readonly exitCode?: number } {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return {}
  }
  const childPid = /"child-pid":\s*(\d+)/.exec(text)?.[1]
  const exitCode = /"exit-code":\s*(\d+)/.exec(text)?.[1]
  return {
    ...(childPid === undefined ? {} : { childPid: Number(childPid) }),
    ...(exitCode === undefined ? {} : { exitCode: Number(exitCode) }),
  }
}

function save(path: string, record: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

function read<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch {
    return undefined
  }
}

const foldersIn = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)

/** Makes the folder of a new container. */
export function makeFolder(folder: string, hostUser: number | undefined): string {
  mkdirSync(folder, { mode: 0o711 })
  const tmp = join(folder, 'tmp')
  mkdirSync(tmp, { mode: 0o700 })
  if (hostUser !== undefined) chownSync(tmp, hostUser, hostUser)
  return tmp
}
