import type { Caller } from '../registry/kind.ts'

/** What is asked for: an object or list of a resource, or a plain path. */
export type Target =
  | {
      readonly group: string
      readonly resource: string
      readonly subresource: string
      readonly namespace: string
      readonly name: string
    }
  | { readonly path: string }

export type Authorize = (caller: Caller, verb: string, target: Target) => boolean

export const ADMIN_GROUP = 'system:masters'
export const CLOUD_CORE_USER = 'sluice:cloudcore'

const ABOUT_ONESELF = new Set(['selfsubjectaccessreviews', 'selfsubjectrulesreviews', 'selfsubjectreviews'])

/** Administrators and the cloud core may do everything, everybody with an identity may look at discovery. */
export const defaultAuthorize: Authorize = (caller, verb, target) => {
  if (caller.groups.includes(ADMIN_GROUP) || caller.groups.includes(CLOUD_CORE_USER) || caller.user === CLOUD_CORE_USER)
    return true
  if ('path' in target) return verb === 'get' && isDiscovery(target.path)
  return verb === 'create' && ABOUT_ONESELF.has(target.resource)
}

/** Paths that say what the server is and speaks, and nothing about what it holds. */
export function isDiscovery(path: string): boolean {
  return /^\/(api|apis|openapi|version|healthz|livez|readyz)(\/|$)/.test(path)
}
