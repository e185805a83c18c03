import { notAcceptable } from './status.ts'

/** What the client wants back: the media type, and which shape of the answer (`as`, with its group and version). */
export interface Wanted {
  readonly type: 'application/json' | 'application/yaml'
  readonly as: string | undefined
  readonly version: string | undefined
  readonly group: string | undefined
}

const PLAIN: Wanted = { type: 'application/json', as: undefined, version: undefined, group: undefined }
const remembered = new Map<string, Wanted>()

/**
 * The first media type of an Accept header that can be served, of those in `shapes` or without a shape. Throws 406
 * when there is none. Protobuf is never produced: clients that ask for it name JSON as their second choice.
 */
export function negotiate(accept: string | undefined, shapes: readonly string[]): Wanted {
  if (accept === undefined || accept === '' || accept === '*/*' || accept === 'application/json') return PLAIN
  const key = `${shapes.join(' ')}|${accept}`
  let wanted = remembered.get(key)
  if (wanted === undefined) {
    wanted = choose(accept, shapes)
    if (remembered.size > 500) remembered.clear()
    remembered.set(key, wanted)
  }
  return wanted
}

function choose(accept: string, shapes: readonly string[]): Wanted {
  for (const clause of accept.split(',').slice(0, 20)) {
    const [media = '', ...parameters] = clause.split(';').map((part) => part.trim())
    const options = new Map(
      parameters.map((text): [string, string] => [text.split('=')[0] ?? '', text.split('=')[1] ?? '']),
    )
    const type = media.toLowerCase()
    const served =
      type === 'application/yaml'
        ? type
        : ['application/json', '*/*', 'application/*'].includes(type)
          ? 'application/json'
          : undefined
    const as = options.get('as')
    if (served === undefined || (as !== undefined && !shapes.includes(as))) continue
    if (as === 'Table' && options.get('v') !== 'v1') continue
    if (as === 'APIGroupDiscoveryList' && !['v2', 'v2beta1'].includes(options.get('v') ?? '')) continue
    return { type: served, as, version: options.get('v'), group: options.get('g') }
  }
  throw notAcceptable()
}
