import { SluiceError } from '../../api/errors.ts'

/** What a Kubernetes API answers when it refuses; only the fields we use of meta/v1 Status. */
interface StatusBody {
  readonly reason?: string
  readonly message?: string
}

/** Turns an HTTP answer that is not a success into the typed error callers match on. */
export function kubeAnswerError(method: string, path: string, status: number, body: string): SluiceError {
  const parsed = statusBody(body)
  const said = parsed.message ?? (body.slice(0, 300) || `HTTP ${status}`)
  const message = `${method} ${path}: ${said}`
  switch (true) {
    case status === 404:
      return new SluiceError('SLUICE_KUBE_NOT_FOUND', message)
    case status === 409 && parsed.reason === 'AlreadyExists':
      return new SluiceError('SLUICE_KUBE_EXISTS', message)
    case status === 409:
      return new SluiceError('SLUICE_KUBE_CONFLICT', message)
    case status === 410:
      return new SluiceError('SLUICE_KUBE_EXPIRED', message)
    case status === 401 || status === 403:
      return new SluiceError('SLUICE_KUBE_FORBIDDEN', message, {
        hint: 'Check the credentials in the kubeconfig and the roles bound to them.',
      })
    case status === 429 || status >= 500:
      return new SluiceError('SLUICE_KUBE_UNAVAILABLE', message)
    default:
      return new SluiceError('SLUICE_KUBE_REFUSED', message)
  }
}

export function kubeUnreachable(server: string, cause: unknown): SluiceError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new SluiceError('SLUICE_KUBE_UNREACHABLE', `cannot reach the Kubernetes API at ${server}: ${why}`, {
    cause,
    hint: 'Check that the API server runs and that the kubeconfig names the right address.',
  })
}

/** Errors after which the same request may well succeed later. */
export const isPassing = (error: SluiceError): boolean =>
  error.code === 'SLUICE_KUBE_UNREACHABLE' ||
  error.code === 'SLUICE_KUBE_UNAVAILABLE' ||
  error.code === 'SLUICE_KUBE_CONFLICT'

function statusBody(body: string): StatusBody {
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value !== 'object' || value === null) return {}
    const { reason, message } = value as { reason?: unknown; message?: unknown }
    return {
      ...(typeof reason === 'string' ? { reason } : {}),
      ...(typeof message === 'string' ? { message } : {}),
    }
  } catch {
    return {}
  }
}
