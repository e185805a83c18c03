/** What a path names. `namespace` is undefined where the path names none, `name` where it names a whole list. */
export interface ResourcePath {
  readonly group: string
  readonly version: string
  readonly namespace: string | undefined
  readonly plural: string
  readonly name: string | undefined
  readonly subresource: string | undefined
}

/** `/api/v1/...` and `/apis/GROUP/VERSION/...` with at least a resource behind it; undefined for any other path. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const parts = path.split('/').slice(1)
  const core = parts[0] === 'api'
  if (!core && parts[0] !== 'apis') return undefined
  const group = core ? '' : (parts[1] ?? '')
  const version = parts[core ? 1 : 2] ?? ''
  let rest = parts.slice(core ? 2 : 3).map(decode)
  if (rest.at(-1) === '') rest = rest.slice(0, -1)
  if (rest.length === 0 || rest.length > 5 || rest.some((part) => part === undefined || part === '')) return undefined
  // /namespaces/x is the namespace itself; anything behind it but its own subresources is content of it.
  const inNamespace =
    rest[0] === 'namespaces' &&
    rest.length > 2 &&
    !(core && (rest[2] === 'status' || rest[2] === 'finalize') && rest.length === 3)
  const [plural = '', name, subresource, ...more] = inNamespace ? rest.slice(2) : rest
  if (more.length > 0) return undefined
  return { group, version, namespace: inNamespace ? rest[1] : undefined, plural, name, subresource }
}

export interface NodeProxyPath {
  readonly name: string
  /** Path at the node, with its first slash. */
  readonly rest: string
}

/** `/api/v1/nodes/NAME/proxy/...`; undefined for any other path. */
export function nodeProxyPath(path: string): NodeProxyPath | undefined {
  const [, encoded = '', rest] = /^\/api\/v1\/nodes\/([^/]+)\/proxy(\/.*)?$/.exec(path) ?? []
  const name = decode(encoded)
  return name === undefined || name === '' ? undefined : { name, rest: rest ?? '/' }
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}
