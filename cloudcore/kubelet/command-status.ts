import { toSluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'

/** How a command ended, as `v4.channel.k8s.io` and later say it on the error stream. */
export function endStatus(result: Json): string {
  const code = (result as { exitCode?: unknown } | null)?.exitCode
  if (typeof code !== 'number' || code === 0) return JSON.stringify({ metadata: {}, status: 'Success' })
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  })
}

export function failureStatus(thrown: unknown): string {
  const { message, hint } = toSluiceError(thrown)
  const text = `${message}${hint === undefined ? '' : ` (${hint})`}`
  return JSON.stringify({ metadata: {}, status: 'Failure', message: text, reason: 'InternalError', code: 500 })
}
