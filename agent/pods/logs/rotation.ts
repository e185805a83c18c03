import { readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { PodRuntime, SandboxState } from '../runtimes/runtime.ts'

export interface LogLimits {
  /** Of one file. */
  readonly maxBytes: number
  /** Of one container's attempt, with the one that is written. */
  readonly maxFiles: number
}

/** The kubelet's defaults (`containerLogMaxSize`, `containerLogMaxFiles`). */
export const LOG_LIMITS: LogLimits = { maxBytes: 10 * 1024 * 1024, maxFiles: 5 }

/**
 * Moves a log out of the way, to `PATH.YYYYMMDD-HHMMSS.mmm`, and removes those that are too many. Whoever writes goes on in a
 * new file at the same path. Old ones stay as they are: to compress them would cost a small machine more than the disk is worth.
 */
export function rotateLog(path: string, { maxFiles }: LogLimits, atMs: number): void {
  const time = new Date(atMs).toISOString().replaceAll(/[-:Z]/g, '').replace('T', '-')
  renameSync(path, `${path}.${time}`)
  const folder = dirname(path)
  const old = readdirSync(folder).filter((name) => name.startsWith(`${basename(path)}.`))
  for (const name of old.sort().slice(0, Math.max(0, old.length - (maxFiles - 1))))
    rmSync(join(folder, name), { force: true })
}

/** Rotates the logs of running containers that have grown too large. */
export async function rotateLogs(
  runtime: PodRuntime,
  sandboxes: readonly SandboxState[],
  limits: LogLimits,
  atMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (const { id, state, logPath } of sandboxes.flatMap(({ containers }) => containers)) {
    if (state !== 'running') continue
    const bytes = statSync(logPath, { throwIfNoEntry: false })?.size ?? 0
    if (bytes < limits.maxBytes) continue
    rotateLog(logPath, limits, atMs)
    await runtime.reopenLog(id, signal)
  }
}

/** Removes the log of a container that is gone, with what was rotated away of it. */
export function removeLogs(path: string): void {
  const folder = dirname(path)
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch {
    return
  }
  for (const name of names) {
    if (name === basename(path) || name.startsWith(`${basename(path)}.`)) rmSync(join(folder, name), { force: true })
  }
}
