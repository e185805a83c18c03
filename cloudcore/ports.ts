import { type SluiceError, toSluiceError } from '../api/errors.ts'
import type { CloudLog } from './options.ts'

export const portMoved = (log: CloudLog) => (error: SluiceError) =>
  log('warn', `${error.message}; another port is taken`, { code: error.code })

/** The port asked for, or else the first free one of the preferred, or else any. */
export async function onPort<T>(
  wanted: number | undefined,
  preferred: readonly (number | undefined)[],
  busyCode: string,
  moved: (error: SluiceError) => void,
  start: (port: number) => Promise<T>,
): Promise<T> {
  if (wanted !== undefined) return start(wanted)
  for (const port of preferred) {
    if (port === undefined) continue
    try {
      return await start(port)
    } catch (thrown) {
      const error = toSluiceError(thrown)
      if (error.code !== busyCode) throw thrown
      moved(error)
    }
  }
  return start(0)
}
