import { existsSync, lstatSync, rmSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import { accountOf, below, type System } from './system.ts'
import { PLACES, SERVICE, USER } from './unit.ts'

export interface UninstallWish {
  /** Data, settings and the user as well: the gateway's key, and what it has not delivered. */
  readonly purge: boolean
}

const PROGRAM = [PLACES.wanted, PLACES.unit, PLACES.command, '/opt/sluice'] as const
const DATA = [PLACES.settings, PLACES.data] as const

/** What uninstalling does, as lines; nothing is left out when nothing is installed. */
export function uninstallLines(system: System, { purge }: UninstallWish): readonly string[] {
  const stop = system.booted && isThere(below(system, PLACES.unit)) ? [`run    systemctl stop ${SERVICE}`] : []
  const paths = [...PROGRAM, ...(purge ? DATA : [])].filter((path) => isThere(below(system, path)))
  const user = purge && accountOf(system, USER) !== undefined ? [`run    ${userdel(system).join(' ')}`] : []
  return [...stop, ...paths.map((path) => `remove ${path}`), ...user]
}

/** Stops the service and removes it; returns what was done. Doing it twice is no error. Throws SLUICE_INSTALL_STEP. */
export async function uninstall(system: System, wish: UninstallWish): Promise<readonly string[]> {
  const lines = uninstallLines(system, wish)
  const booted = system.booted
  if (booted && isThere(below(system, PLACES.unit))) await command(system, ['systemctl', 'stop', SERVICE])
  for (const path of [...PROGRAM, ...(wish.purge ? DATA : [])]) {
    try {
      rmSync(below(system, path), { recursive: true, force: true })
    } catch (cause) {
      throw failed(`${path} cannot be removed`, cause)
    }
  }
  if (booted && lines.length > 0) await command(system, ['systemctl', 'daemon-reload'])
  if (wish.purge && accountOf(system, USER) !== undefined) await command(system, userdel(system))
  return lines
}

const userdel = ({ root }: System): string[] => ['userdel', ...(root === '/' ? [] : ['--prefix', root]), USER]

async function command(system: System, argv: readonly string[]): Promise<void> {
  const { code, text } = await system.run(argv)
  if (code !== 0) throw failed(`'${argv.join(' ')}' failed: ${text || code}`, undefined)
}

const failed = (what: string, cause: unknown): SluiceError =>
  new SluiceError('SLUICE_INSTALL_STEP', what, { hint: 'Run it as root (sudo).', cause })

/** Also a link that leads nowhere. */
function isThere(path: string): boolean {
  return existsSync(path) || lstatSync(path, { throwIfNoEntry: false }) !== undefined
}
