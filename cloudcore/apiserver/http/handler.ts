import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Authenticator } from '../access/authenticate.ts'
import type { Authorize } from '../access/authorize.ts'
import type { OpenApi } from '../openapi/document.ts'
import type { Kind } from '../registry/kind.ts'
import { METRICS_GROUP } from '../registry/kinds/metrics.ts'
import { nodeKind } from '../registry/kinds/node.ts'
import type { Registry } from '../registry/registry.ts'
import { answerDiscovery } from './discovery.ts'
import type { Exchange } from './exchange.ts'
import { sendError, sendJson, sendObject, sendText } from './exchange.ts'
import { answerList } from './list.ts'
import { answerMetrics } from './metrics.ts'
import { isProxied, type NodeProxy, refusalHead } from './node-proxy.ts'
import type { NodeProxyPath, ResourcePath } from './path.ts'
import { nodeProxyPath, parseResourcePath } from './path.ts'
import { answerPodSubresource } from './pod-subresources.ts'
import { answerScale } from './scale.ts'
import { ApiStatusError, badRequest, internalError, methodNotAllowed, tooManyRequests } from './status.ts'
import {
  answerCollectionDelete,
  answerCreate,
  answerDelete,
  answerGet,
  answerPatch,
  answerReplace,
  writeOptions,
} from './verbs.ts'
import { answerWatch } from './watch.ts'

export interface HandlerOptions {
  readonly registry: Registry
  readonly openApi: OpenApi
  readonly authenticator: Authenticator
  readonly authorize: Authorize
  readonly maxWatches: number
  /** The way to the nodes of pods; without it nobody can look into a pod. */
  readonly nodes?: NodeProxy | undefined
  /** Ends open watches. */
  readonly signal: AbortSignal
}

const VERSION = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.0+sluice',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '2026-01-01T00:00:00Z',
  goVersion: '',
  compiler: '',
  platform: `${process.platform}/${process.arch}`,
}
const NOT_FOUND = '404 page not found\n'

/** The request pipeline: who, what, may they, do it. Every failure ends as a Status answer. */
export class Handler {
  readonly #options: HandlerOptions
  #watches = 0

  constructor(options: HandlerOptions) {
    this.#options = options
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response)
    } catch (error) {
      sendError(response, error)
    } finally {
      // A body nobody wanted would be taken for the next request.
      if (!request.complete) request.resume()
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? 'GET'
    const target = request.url ?? '/'
    const mark = target.indexOf('?')
    const path = mark < 0 ? target : target.slice(0, mark)
    if (path === '/healthz' || path === '/livez' || path === '/readyz') return sendText(response, 200, 'ok')
    if (path === '/version') return sendObject(response, 200, VERSION)
    const caller = this.#options.authenticator.identify(request)
    const exchange: Exchange = {
      request,
      response,
      method,
      path,
      query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
      caller,
    }
    const node = nodeProxyPath(path)
    if (node !== undefined) return this.#throughNode(exchange, node)
    const resource = parseResourcePath(path)
    if (resource === undefined) return this.#plain(exchange)
    const kind = this.#options.registry.catalog.find(resource.group, resource.version, resource.plural)
    if (kind === undefined || (resource.subresource !== undefined && !hasSubresource(kind, resource.subresource)))
      return sendText(response, 404, NOT_FOUND)
    if (kind.namespaced && resource.namespace === undefined && resource.name !== undefined)
      return sendText(response, 404, NOT_FOUND)
    if (!kind.namespaced && resource.namespace !== undefined) return sendText(response, 404, NOT_FOUND)
    return this.#resource(exchange, kind, resource)
  }

  /** `nodes/NAME/proxy`: what a kubelet answers to a GET, as it is. */
  #throughNode(exchange: Exchange, { name, rest }: NodeProxyPath): Promise<void> {
    const { method } = exchange
    const path = { group: '', version: 'v1', namespace: undefined, plural: 'nodes', name, subresource: 'proxy' }
    this.#admit(exchange, nodeKind, path, verbOf(method, path))
    if (method !== 'GET') throw methodNotAllowed()
    return this.#nodes().answerNode(name, rest, exchange)
  }

  #plain(exchange: Exchange): void {
    const { path, response, caller, method } = exchange
    if (!this.#options.authorize(caller, method === 'GET' ? 'get' : method.toLowerCase(), { path })) {
      throw new ApiStatusError(403, 'Forbidden', `forbidden: User "${caller.user}" cannot get path "${path}"`, {})
    }
    if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed()
    if (path === '/openapi/v3') sendObject(response, 200, this.#options.openApi.index())
    else if (path.startsWith('/openapi/v3/')) this.#openApiDocument(response, path.slice('/openapi/v3/'.length))
    else if (!/^\/apis?(\/|$)/.test(path) || !answerDiscovery(exchange, this.#options.registry.catalog)) {
      sendText(response, 404, NOT_FOUND)
    }
  }

  #openApiDocument(response: ServerResponse, path: string): void {
    const document = this.#options.openApi.document(path)
    if (document === undefined) sendText(response, 404, NOT_FOUND)
    else sendJson(response, 200, document)
  }

  async #resource(exchange: Exchange, kind: Kind, path: ResourcePath): Promise<void> {
    const { method, query } = exchange
    const watching =
      method === 'GET' && path.subresource === undefined && ['1', 'true'].includes(query.get('watch') ?? '')
    const verb = watching ? 'watch' : verbOf(method, path)
    this.#admit(exchange, kind, path, verb)
    if (!kind.verbs.includes(verb) && !(path.subresource !== undefined && ['get', 'update', 'patch'].includes(verb)))
      throw methodNotAllowed()
    const { registry } = this.#options
    const namespace = kind.namespaced ? path.namespace : undefined
    if (watching) return this.#watch(exchange, kind, namespace, path.name)
    if (kind.group === METRICS_GROUP) return answerMetrics(exchange, registry, this.#nodes(), kind, path)
    const { name } = path
    if (name === undefined) {
      if (method === 'GET') return answerList(exchange, registry, kind, namespace)
      if (method === 'DELETE') return answerCollectionDelete(exchange, registry, kind, namespace)
      if (kind.namespaced && namespace === undefined)
        throw badRequest('an empty namespace may not be set during creation')
      return answerCreate(exchange, registry, kind, namespace ?? '')
    }
    const subresource = path.subresource === 'status' ? 'status' : undefined
    const target = { kind, namespace: namespace ?? '', name, subresource } as const
    const special = subresourceOf(kind, path.subresource)
    if (special !== undefined) {
      if (!special.verbs.includes(verb)) throw methodNotAllowed()
      if (isProxied(special.name)) return this.#nodes().answer(special.name, exchange, target)
      if (await answerPodSubresource(special.name, exchange, registry, target)) return
    }
    if (path.subresource === 'scale') return answerScale(exchange, registry, target, writeOptions)
    switch (method) {
      case 'GET':
        return answerGet(exchange, registry, target)
      case 'PUT':
        return answerReplace(exchange, registry, target)
      case 'PATCH':
        return answerPatch(exchange, registry, target)
      default:
        return answerDelete(exchange, registry, target)
    }
  }

  /** Who asks for an upgrade asks for a pod: nothing else has one. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    try {
      const caller = this.#options.authenticator.identify(request)
      const [path = '', ...rest] = (request.url ?? '/').split('?')
      const resource = parseResourcePath(path)
      const kind =
        resource === undefined
          ? undefined
          : this.#options.registry.catalog.find(resource.group, resource.version, resource.plural)
      const special = kind === undefined ? undefined : subresourceOf(kind, resource?.subresource)
      if (resource?.name === undefined || kind === undefined || special === undefined || !isProxied(special.name)) {
        throw new ApiStatusError(404, 'NotFound', 'the server could not find the requested resource')
      }
      const verb = verbOf(request.method ?? 'GET', resource)
      this.#admit({ caller }, kind, resource, verb)
      if (!special.verbs.includes(verb)) throw methodNotAllowed()
      const target = { kind, namespace: resource.namespace ?? '', name: resource.name, subresource: undefined }
      this.#nodes().upgrade(special.name, target, new URLSearchParams(rest.join('?')), request, socket, head)
    } catch (error) {
      socket.end(refusalHead(error instanceof ApiStatusError ? error : internalError('the upgrade failed')))
    }
  }

  #nodes(): NodeProxy {
    const { nodes } = this.#options
    if (nodes !== undefined) return nodes
    throw new ApiStatusError(501, 'NotImplemented', 'this API server was started without a way to its nodes')
  }

  async #watch(exchange: Exchange, kind: Kind, namespace: string | undefined, name: string | undefined): Promise<void> {
    if (this.#watches >= this.#options.maxWatches)
      throw tooManyRequests(`${this.#options.maxWatches} watches are open, no more are allowed`)
    // Watching one object by its own path is an old way of saying metadata.name=NAME.
    if (name !== undefined) exchange.query.set('fieldSelector', `metadata.name=${name}`)
    this.#watches++
    try {
      await answerWatch(exchange, this.#options.registry, kind, namespace, this.#options.signal)
    } finally {
      this.#watches--
    }
  }

  #admit({ caller }: Pick<Exchange, 'caller'>, kind: Kind, path: ResourcePath, verb: string): void {
    const target = {
      group: kind.group,
      resource: kind.plural,
      subresource: path.subresource ?? '',
      namespace: path.namespace ?? '',
      name: path.name ?? '',
    }
    if (this.#options.authorize(caller, verb, target)) return
    const what = path.subresource === undefined ? kind.plural : `${kind.plural}/${path.subresource}`
    const where = path.namespace === undefined ? ' at the cluster scope' : ` in the namespace "${path.namespace}"`
    const subject = path.name === undefined ? '' : ` "${path.name}"`
    const suffix = kind.group === '' ? '' : `.${kind.group}`
    const text = `User "${caller.user}" cannot ${verb} resource "${what}" in API group "${kind.group}"${where}`
    throw new ApiStatusError(403, 'Forbidden', `${kind.plural}${suffix}${subject} is forbidden: ${text}`, {
      ...(path.name === undefined ? {} : { name: path.name }),
      ...(kind.group === '' ? {} : { group: kind.group }),
      kind: kind.plural,
    })
  }
}

function hasSubresource(kind: Kind, subresource: string): boolean {
  if (subresourceOf(kind, subresource) !== undefined) return true
  return (subresource === 'status' && kind.hasStatus) || (subresource === 'scale' && kind.scale !== undefined)
}

const subresourceOf = (kind: Kind, name: string | undefined) => kind.subresources?.find((each) => each.name === name)

/** The verb that authorization knows; 405 where a path has no such method. */
function verbOf(method: string, path: ResourcePath): string {
  const one = path.name !== undefined
  switch (method) {
    case 'GET':
      return one ? 'get' : 'list'
    case 'POST':
      if (!one || path.subresource !== undefined) return 'create'
      break
    case 'PUT':
      if (one) return 'update'
      break
    case 'PATCH':
      if (one) return 'patch'
      break
    case 'DELETE':
      if (path.subresource === undefined) return one ? 'delete' : 'deletecollection'
      break
  }
  throw methodNotAllowed()
}
