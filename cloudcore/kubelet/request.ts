import { SluiceError } from '../../api/errors.ts'

/** What a path of a kubelet asks for. */
export type NodeRequest =
  | { readonly t: 'logs'; readonly namespace: string; readonly pod: string; readonly container: string }
  | { readonly t: 'exec'; readonly namespace: string; readonly pod: string; readonly container: string }
  | { readonly t: 'attach'; readonly namespace: string; readonly pod: string; readonly container: string }
  | { readonly t: 'portForward'; readonly namespace: string; readonly pod: string }
  | { readonly t: 'pods' | 'summary' | 'resource'; readonly gateway: string | undefined }
  | { readonly t: 'healthz' }

/**
 * Reads a kubelet's path. Some exist twice, with and without the pod's uid, as kubelets have them. One listener stands
 * for all gateways, so what is about a node may name it: `/gateways/NAME/metrics/resource`. Throws
 * SLUICE_KUBELET_PATH.
 */
export function readPath(path: string): NodeRequest {
  let parts = path.split('/').slice(1).map(decode)
  if (parts.some((part) => part === undefined)) throw unknown(path)
  let gateway: string | undefined
  if (parts[0] === 'gateways' && parts[1] !== undefined && parts[1] !== '') {
    gateway = parts[1]
    parts = parts.slice(2)
  }
  const [first, ...rest] = parts as string[]
  if (rest.every((part) => part !== '')) {
    switch (first) {
      case 'healthz':
        if (rest.length === 0 || (rest.length === 1 && ['ping', 'log', 'syncloop'].includes(rest[0]!)))
          return { t: 'healthz' }
        break
      case 'pods':
        if (rest.length === 0) return { t: 'pods', gateway }
        break
      case 'stats':
        if (rest.length === 1 && rest[0] === 'summary') return { t: 'summary', gateway }
        break
      case 'metrics':
        if (rest.length === 1 && rest[0] === 'resource') return { t: 'resource', gateway }
        break
      case 'containerLogs': {
        const [namespace, pod, container] = rest
        if (rest.length === 3) return { t: 'logs', namespace: namespace!, pod: pod!, container: container! }
        break
      }
      case 'exec':
      case 'attach': {
        const [namespace, pod, third, fourth] = rest
        if (rest.length !== 3 && rest.length !== 4) break
        return { t: first, namespace: namespace!, pod: pod!, container: fourth ?? third! }
      }
      case 'portForward': {
        const [namespace, pod] = rest
        if (rest.length === 2 || rest.length === 3) return { t: 'portForward', namespace: namespace!, pod: pod! }
        break
      }
    }
  }
  throw unknown(path)
}

/** A flag of a kubelet's query: `1` or `true`. */
export const flag = (query: URLSearchParams, name: string): boolean => {
  const value = query.get(name)
  return value === '1' || value === 'true'
}

/** A whole number of a query, 0 or more; undefined when it is not there. Throws SLUICE_KUBELET_REQUEST. */
export function count(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  const value = Number(text)
  if (!/^\d{1,15}$/.test(text) || !Number.isSafeInteger(value)) {
    throw new SluiceError(
      'SLUICE_KUBELET_REQUEST',
      `${name} has to be a whole number, 0 or more, not '${text.slice(0, 40)}'`,
    )
  }
  return value
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

const unknown = (path: string) => new SluiceError('SLUICE_KUBELET_PATH', `404 page not found: ${path.slice(0, 200)}`)
