import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { SluiceError } from '../../../../api/errors.ts'

/** Programs that the process runtime stands on; all but the first are part of any Linux. */
export interface Tools {
  readonly bwrap: string
  readonly chroot: string
  readonly nsenter: string
  readonly mkfifo: string
  readonly sleep: string
  readonly sh: string
}

const PACKAGES: Readonly<Record<keyof Tools, string>> = {
  bwrap: 'bubblewrap',
  chroot: 'coreutils',
  nsenter: 'util-linux',
  mkfifo: 'coreutils',
  sleep: 'coreutils',
  sh: 'dash',
}

/** Finds them, or throws `SLUICE_POD_RUNTIME_MISSING` with what to install. */
export function findTools(path = process.env['PATH'] ?? ''): Tools {
  const folders = [...path.split(delimiter).filter((folder) => folder !== ''), '/usr/bin', '/bin', '/usr/sbin', '/sbin']
  const find = (name: string) => folders.map((folder) => join(folder, name)).find(isProgram)
  const missing: (keyof Tools)[] = []
  const tool = (name: keyof Tools): string => {
    const path = find(name)
    if (path === undefined) missing.push(name)
    return path ?? ''
  }
  const tools: Tools = {
    bwrap: tool('bwrap'),
    chroot: tool('chroot'),
    nsenter: tool('nsenter'),
    mkfifo: tool('mkfifo'),
    sleep: tool('sleep'),
    sh: tool('sh'),
  }
  if (missing.length === 0) return tools
  const packages = [...new Set(missing.map((name) => PACKAGES[name]))].join(' ')
  throw new SluiceError('SLUICE_POD_RUNTIME_MISSING', `Pods cannot run as processes: ${missing.join(', ')} not found`, {
    hint: `Install it: apt-get install ${packages}; or run pods with containerd: --pods containerd.`,
  })
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
