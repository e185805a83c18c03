/** What somebody signed in to the console may do; each role may what the ones before it may. */
export const ROLES = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof ROLES)[number]

export const isRole = (word: unknown): word is Role => ROLES.some((role) => role === word)

export const mayActAs = (role: Role, needed: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(needed)

/**
 * The role that a request of the `/v1` API needs: whoever is signed in reads, an operator writes values, approves
 * devices and does what `OPERATED` says, everything else is an administrator's. Join tokens open a door, so even their list is not for everybody.
 */
export function neededRole(method: string, path: string): Role {
  const reading = method === 'GET' || method === 'HEAD'
  if (path === '/v1/tokens') return 'admin'
  if (path === '/v1/audit') return 'operator'
  // Whoever has a shell in a pod has everything the pod has.
  if (/^\/v1\/pods\/[^/]+\/[^/]+\/terminal$/.test(path)) return 'admin'
  if (reading || path === '/v1/check') return 'viewer'
  if (method === 'PUT' && /^\/v1\/devices\/[^/]+\/[^/]+\/desired\/[^/]+$/.test(path)) return 'operator'
  if (method === 'POST' && /^\/v1\/discovered\/[^/]+\/[^/]+\/approve$/.test(path)) return 'operator'
  if (method === 'POST' && OPERATED.some((each) => each.test(path))) return 'operator'
  return 'admin'
}

/** Beside values and devices, an operator moves pods, holds rollouts and lets them go on, and tries a model against a device. */
const OPERATED = [
  /^\/v1\/pods\/[^/]+\/[^/]+\/offload$/,
  /^\/v1\/rollouts\/[^/]+\/[^/]+$/,
  /^\/v1\/devices\/[^/]+\/[^/]+\/poll$/,
  /^\/v1\/trial$/,
]
