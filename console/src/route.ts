import type { SessionView } from '../../api/console/gate.ts'

export type Signed = SessionView

export type Page =
  | 'home'
  | 'fleet'
  | 'gateway'
  | 'devices'
  | 'device'
  | 'plan'
  | 'discovery'
  | 'models'
  | 'firmware'
  | 'offload'
  | 'join'
  | 'audit'
  | 'sign-in'

export interface Route {
  readonly page: Page
  /** What comes after the page: a gateway's name, a device's key, a code. */
  readonly id: string
}

const PAGES: readonly string[] = [
  'fleet',
  'gateway',
  'devices',
  'device',
  'plan',
  'discovery',
  'models',
  'firmware',
  'offload',
  'join',
  'audit',
  'sign-in',
]

const isPage = (word: string): word is Page => PAGES.includes(word)

export function routeOf(hash: string): Route {
  const [page = '', ...rest] = hash.replace(/^#?\/?/, '').split('/')
  return { page: isPage(page) ? page : 'home', id: rest.map(decoded).join('/') }
}

export const linkTo = (page: Page, id = ''): string =>
  `#/${[page, ...(id === '' ? [] : id.split('/'))].map(encodeURIComponent).join('/')}`

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
