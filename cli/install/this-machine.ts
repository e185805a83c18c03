import { chownSync, existsSync } from 'node:fs'
import { requestJson } from '../../api/client/http.ts'
import { systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { below, runProgram, type System } from './system.ts'
import { PLACES } from './unit.ts'

/** The system that `sluice install` works on. Only root may change owners; elsewhere files belong to who runs it. */
export function thisMachine(root: string, signal: AbortSignal): System {
  if (process.platform !== 'linux') {
    throw new SluiceError(
      'SLUICE_INSTALL_PLATFORM',
      `Installing works on Linux with systemd, this is ${process.platform}`,
      {
        hint: 'Start the agent yourself: sluice agent --data DIR',
      },
    )
  }
  const isRoot = process.getuid?.() === 0
  return {
    root,
    booted: root === '/' && existsSync('/run/systemd/system'),
    clock: systemClock,
    signal,
    run: (argv) => runProgram(argv, signal),
    chown: (path, uid, gid) => {
      if (isRoot) chownSync(path, uid, gid)
    },
    async answers() {
      const socketPath = below({ root }, `${PLACES.data}/agent.sock`)
      try {
        await requestJson({ kind: 'socket', path: socketPath }, { path: '/healthz', signal })
        return true
      } catch {
        signal.throwIfAborted()
        return false
      }
    },
  }
}
