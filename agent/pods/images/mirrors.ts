import { existsSync, readFileSync } from 'node:fs'
import { SluiceError } from '../../../api/errors.ts'
import type { Mirrors } from './registry.ts'

const HINT =
  'Write {"docker.io": ["https://mirror.example:5000"]}: addresses without a path, by the name of the registry.'

/**
 * Reads `registries.json`: for each registry the addresses that are asked before it. Plain HTTP is taken where the address says
 * so. A file that is not there is none. Throws `SLUICE_REGISTRY_MIRRORS`.
 */
export function readMirrors(path: string): Mirrors {
  if (!existsSync(path)) return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new SluiceError('SLUICE_REGISTRY_MIRRORS', `${path} is not JSON`, { hint: HINT, cause })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw wrong(path, 'it is no object')
  return Object.fromEntries(
    Object.entries(parsed).map(([registry, list]: [string, unknown]) => {
      if (!Array.isArray(list)) throw wrong(path, `${registry}: it is no list`)
      return [registry, list.map((address: unknown) => checked(path, registry, address))]
    }),
  )
}

function checked(path: string, registry: string, address: unknown): string {
  const url = typeof address === 'string' && URL.canParse(address) ? new URL(address) : undefined
  if (
    url === undefined ||
    !/^https?:$/.test(url.protocol) ||
    url.pathname !== '/' ||
    url.username !== '' ||
    url.search !== ''
  ) {
    throw wrong(path, `${registry}: '${String(address).slice(0, 128)}' is no address of a registry`)
  }
  return url.origin
}

const wrong = (path: string, what: string): SluiceError =>
  new SluiceError('SLUICE_REGISTRY_MIRRORS', `${path}: ${what}`, { hint: HINT })
