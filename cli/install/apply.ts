import {
  chmodSync,
  closeSync,
  cpSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { isNeeded, type Owner, type Step } from './plan.ts'
import { accountOf, below, type System } from './system.ts'
import { USER } from './unit.ts'

/** Carries a step out; false when there was nothing to do. Throws SLUICE_INSTALL_STEP. */
export async function applyStep(system: System, step: Step): Promise<boolean> {
  if (!isNeeded(system, step)) return false
  try {
    await carryOut(system, step)
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause
    const what = step.do === 'command' ? step.argv.join(' ') : step.path
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('SLUICE_INSTALL_STEP', `${what} could not be done: ${why}`, {
      hint: 'Run it as root (sudo), and check that the disk has room. Installing again goes on where it stopped.',
      cause,
    })
  }
  return true
}

async function carryOut(system: System, step: Step): Promise<void> {
  if (step.do === 'command') {
    const { code, text } = await system.run(step.argv)
    if (code !== 0) throw new Error(text === '' ? `it ended with ${code}` : text)
    return
  }
  const path = below(system, step.path)
  switch (step.do) {
    case 'folder':
      mkdirSync(path, { recursive: true })
      chmodSync(path, step.mode)
      own(system, path, step.owner)
      return
    case 'program':
      copyProgram(step.from, path)
      return
    case 'link':
      mkdirSync(dirname(path), { recursive: true })
      rmSync(`${path}.new`, { force: true })
      symlinkSync(step.to, `${path}.new`)
      renameSync(`${path}.new`, path)
      return
    case 'file':
      writeWhole(system, path, step.content, step.mode, step.owner)
  }
}

/** A folder that has its name is complete: a cut in between leaves one that is called `.partial`. */
function copyProgram(from: string, path: string): void {
  const partial = `${path}.partial`
  rmSync(partial, { recursive: true, force: true })
  rmSync(path, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true, mode: 0o755 })
  chmodSync(partial, 0o755)
  cpSync(join(from, 'node_modules'), join(partial, 'node_modules'), {
    recursive: true,
    verbatimSymlinks: true,
    filter: (file) => !file.endsWith('/node_modules/.cache'),
  })
  renameSync(partial, path)
}

/** Replaced as a whole, with mode and owner set before it has its name. */
function writeWhole(system: System, path: string, content: string, mode: number, owner: Owner): void {
  mkdirSync(dirname(path), { recursive: true })
  const fresh = `${path}.new`
  rmSync(fresh, { force: true })
  const fd = openSync(fresh, 'wx', mode & 0o700)
  try {
    writeSync(fd, content)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  chmodSync(fresh, mode)
  own(system, fresh, owner)
  renameSync(fresh, path)
}

function own(system: System, path: string, owner: Owner): void {
  const account = accountOf(system, USER)
  if (owner === 'root') system.chown(path, 0, 0)
  else if (account === undefined) throw new Error(`there is no user ${USER}`)
  else system.chown(path, owner === 'sluice' ? account.uid : 0, account.gid)
}
