import { existsSync, lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Program } from './program.ts'
import { accountOf, below, membersOf, type System } from './system.ts'
import { agentUnit, commandScript, ENVIRONMENT_TEMPLATE, GROUPS, PLACES, USER } from './unit.ts'

export type Owner = 'root' | 'sluice' | 'root:sluice'

/** One thing that installing does. Every step looks by itself whether there is anything to do. */
export type Step =
  | { readonly do: 'command'; readonly argv: readonly string[]; readonly needed: boolean }
  | { readonly do: 'folder'; readonly path: string; readonly mode: number; readonly owner: Owner }
  | { readonly do: 'program'; readonly path: string; readonly from: string }
  | {
      readonly do: 'file'
      readonly path: string
      readonly mode: number
      readonly owner: Owner
      readonly content: string
      /** Not shown, not compared. */
      readonly secret?: true
      /** Left alone when it is there. */
      readonly once?: true
    }
  | { readonly do: 'link'; readonly path: string; readonly to: string }

export interface InstallWish {
  readonly program: Program
  readonly bluetoothHci: boolean
  readonly token: string | undefined
}

/** Everything installing does to the files of a system, in order; starting the service comes after it. */
export function installSteps(system: System, { program, bluetoothHci, token }: InstallWish): readonly Step[] {
  const groups = GROUPS.filter((group) => membersOf(system, group) !== undefined)
  const version = `${PLACES.versions}/${program.id}`
  return [
    ...userSteps(system, groups),
    { do: 'folder', path: '/opt/sluice', mode: 0o755, owner: 'root' },
    { do: 'folder', path: PLACES.versions, mode: 0o755, owner: 'root' },
    { do: 'program', path: version, from: program.folder },
    { do: 'folder', path: PLACES.settings, mode: 0o750, owner: 'root:sluice' },
    { do: 'folder', path: PLACES.data, mode: 0o700, owner: 'sluice' },
    {
      do: 'file',
      path: PLACES.environment,
      mode: 0o640,
      owner: 'root:sluice',
      content: ENVIRONMENT_TEMPLATE,
      once: true,
    },
    ...(token === undefined
      ? []
      : [
          {
            do: 'file',
            path: PLACES.token,
            mode: 0o600,
            owner: 'sluice',
            content: `${token}\n`,
            secret: true,
          } satisfies Step,
        ]),
    { do: 'file', path: PLACES.command, mode: 0o755, owner: 'root', content: commandScript(program.nodePackage) },
    { do: 'file', path: PLACES.unit, mode: 0o644, owner: 'root', content: agentUnit({ bluetoothHci, groups }) },
    { do: 'link', path: PLACES.wanted, to: PLACES.unit },
    // Last: with it everything that is started from now on is the new version.
    { do: 'link', path: PLACES.current, to: version },
  ]
}

function userSteps(system: System, groups: readonly string[]): Step[] {
  const prefix = system.root === '/' ? [] : ['--prefix', system.root]
  const add = [
    '--system',
    '--user-group',
    '--home-dir',
    PLACES.data,
    '--no-create-home',
    '--shell',
    '/usr/sbin/nologin',
  ]
  const absent = groups.filter((group) => membersOf(system, group)?.includes(USER) !== true)
  return [
    { do: 'command', argv: ['useradd', ...prefix, ...add, USER], needed: accountOf(system, USER) === undefined },
    ...(groups.length === 0
      ? []
      : [
          {
            do: 'command',
            argv: ['usermod', ...prefix, '--append', '--groups', groups.join(','), USER],
            needed: absent.length > 0,
          } satisfies Step,
        ]),
  ]
}

/** Whether a step would change anything. */
export function isNeeded(system: System, step: Step): boolean {
  if (step.do === 'command') return step.needed
  const path = below(system, step.path)
  switch (step.do) {
    case 'folder':
      return !existsSync(path) || (statSync(path).mode & 0o7777) !== step.mode
    case 'program':
      return !existsSync(join(path, 'node_modules'))
    case 'link':
      return linkTarget(path) !== step.to
    case 'file':
      if (!existsSync(path) || step.secret === true) return true
      if (step.once === true) return false
      return readFileSync(path, 'utf8') !== step.content || (statSync(path).mode & 0o7777) !== step.mode
  }
}

/** Where a symbolic link points; undefined for anything else. */
export function linkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined
  } catch {
    return undefined
  }
}

/** One line for people. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case 'command':
      return `run    ${step.argv.join(' ')}`
    case 'folder':
      return `folder ${step.path}  mode ${octal(step.mode)}  ${step.owner}`
    case 'program':
      return `copy   ${step.from} -> ${step.path}`
    case 'link':
      return `link   ${step.path} -> ${step.to}`
    case 'file':
      return `file   ${step.path}  mode ${octal(step.mode)}  ${step.owner}${step.secret === true ? '  (a secret)' : ''}`
  }
}

const octal = (mode: number): string => mode.toString(8).padStart(4, '0')
