import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { delay } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { applyStep } from './apply.ts'
import { describeStep, type InstallWish, installSteps, linkTarget, type Step } from './plan.ts'
import { below, type System } from './system.ts'
import { PLACES, SERVICE } from './unit.ts'

export interface Installed {
  readonly version: string
  /** What ran here before, if something else did. */
  readonly replaced: string | null
  /** Lines of what was done; empty when everything was as it should be. */
  readonly changed: readonly string[]
  readonly started: boolean
}

/** How long a new version may take until it answers; a slow card and a cold cache included. */
const HEALTH_DEADLINE_MS = 60_000
const HEALTH_EVERY_MS = 1000
/** It has to stay up for so many looks in a row: one that falls over at once is restarted and answers in between. */
const HEALTHY_LOOKS = 3
/** The one that runs and the one to go back to. */
const KEPT_VERSIONS = 2

/**
 * Installs, or upgrades what is installed: the new version lies beside the old one, a link decides, and when the new one
 * does not come up the link goes back. Doing it twice changes nothing. Throws SLUICE_INSTALL_STEP,
 * SLUICE_INSTALL_START or SLUICE_INSTALL_UNHEALTHY.
 */
export async function install(system: System, wish: InstallWish & { start: boolean }): Promise<Installed> {
  const before = linkTarget(below(system, PLACES.current))
  const changed: string[] = []
  for (const step of installSteps(system, wish)) {
    system.signal.throwIfAborted()
    if (await applyStep(system, step)) changed.push(describeStep(step))
  }
  const version = wish.program.id
  const replaced = before === undefined || before.endsWith(`/${version}`) ? undefined : before
  const starts = wish.start && system.booted
  if (starts) await startAndWatch(system, changed.length > 0, replaced)
  prune(system)
  return { version, replaced: replaced?.split('/').at(-1) ?? null, changed, started: starts }
}

/** What would be done, for `--dry-run`. */
export const plannedSteps = (system: System, wish: InstallWish & { start: boolean }): readonly string[] => [
  ...installSteps(system, wish).map(describeStep),
  ...(wish.start && system.booted ? startCommands(true).map((argv) => `run    ${argv.join(' ')}`) : []),
]

/** The content that --dry-run shows beside the lines; secrets are not among it. */
export const plannedFiles = (system: System, wish: InstallWish): ReadonlyMap<string, string> =>
  new Map(
    installSteps(system, wish)
      .filter((step): step is Extract<Step, { do: 'file' }> => step.do === 'file' && step.secret !== true)
      .map(({ path, content }) => [path, content]),
  )

const startCommands = (changed: boolean): readonly (readonly string[])[] =>
  changed
    ? [
        ['systemctl', 'daemon-reload'],
        ['systemctl', 'restart', SERVICE],
      ]
    : [['systemctl', 'start', SERVICE]]

async function startAndWatch(system: System, changed: boolean, replaced: string | undefined): Promise<void> {
  try {
    await start(system, changed)
    await watchHealth(system)
  } catch (failure) {
    if (replaced === undefined) throw failure
    await applyStep(system, { do: 'link', path: PLACES.current, to: replaced })
    await start(system, true)
    const what = failure instanceof SluiceError ? failure.message : String(failure)
    throw new SluiceError('SLUICE_INSTALL_UNHEALTHY', `${what}; the version before runs again (${replaced})`, {
      hint: `See why: journalctl -u ${SERVICE} -n 50`,
      cause: failure,
    })
  }
}

async function start(system: System, changed: boolean): Promise<void> {
  for (const argv of startCommands(changed)) {
    const { code, text } = await system.run(argv)
    if (code === 0) continue
    throw new SluiceError('SLUICE_INSTALL_START', `'${argv.join(' ')}' failed: ${text || code}`, {
      hint: `See why: systemctl status ${SERVICE}`,
    })
  }
}

async function watchHealth(system: System): Promise<void> {
  const { clock, signal } = system
  const endMs = clock.monotonic() + HEALTH_DEADLINE_MS
  let healthy = 0
  while (healthy < HEALTHY_LOOKS) {
    if (clock.monotonic() >= endMs) {
      throw new SluiceError('SLUICE_INSTALL_UNHEALTHY', 'The agent does not come up', {
        hint: `See why: journalctl -u ${SERVICE} -n 50`,
      })
    }
    await delay(clock, HEALTH_EVERY_MS, signal)
    healthy = (await system.answers()) ? healthy + 1 : 0
  }
}

/** Takes old versions away, newest kept; never the one in use. */
function prune(system: System): void {
  const folder = below(system, PLACES.versions)
  const current = linkTarget(below(system, PLACES.current))?.split('/').at(-1)
  const others = readdirSync(folder)
    .filter((name) => name !== current)
    .map((name) => ({ name, atMs: statSync(join(folder, name)).mtimeMs }))
    .sort((one, other) => other.atMs - one.atMs)
  for (const { name } of others.slice(KEPT_VERSIONS - 1)) rmSync(join(folder, name), { recursive: true, force: true })
}
