import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { connect } from 'node:tls'
import { at, listAt, stringAt } from '../objects.ts'
import { nodeKind } from '../registry/kinds/node.ts'
import type { Registry, Target } from '../registry/registry.ts'
import type { Exchange } from './exchange.ts'
import { ApiStatusError, badRequest } from './status.ts'

/** How this server shows itself to nodes, and whom it takes for one; PEM texts. */
export interface NodeCredentials {
  readonly ca: string
  readonly key: string
  readonly cert: string
}

const CONNECT_MS = 10_000
const MAX_ERROR_BYTES = 64 * 1024
const COMMANDS = new Set(['exec', 'attach'])
const UPGRADED = new Set(['exec', 'attach', 'portforward'])
/** Headers that were meant for this server and must not travel on. */
const OWN_HEADERS = new Set(['host', 'authorization', 'cookie', 'proxy-authorization', 'x-forwarded-for', 'origin'])

export const isProxied = (subresource: string): boolean => subresource === 'log' || UPGRADED.has(subresource)

/**
 * Carries `log`, `exec`, `attach` and `portforward` to the node of the pod, as a Kubernetes API server does. An upgraded
 * connection is passed through as it is: the node speaks every protocol that clients speak here.
 */
export class NodeProxy {
  readonly #registry: Registry
  readonly #credentials: NodeCredentials
  readonly #agent: Agent

  constructor(registry: Registry, credentials: NodeCredentials) {
    this.#registry = registry
    this.#credentials = credentials
    this.#agent = new Agent({ ...credentials, keepAlive: true, maxSockets: 256 })
  }

  close(): void {
    this.#agent.destroy()
  }

  /** Answers a request that asks for no upgrade. */
  async answer(subresource: string, exchange: Exchange, target: Target): Promise<void> {
    if (subresource !== 'log') throw badRequest('Upgrade request required')
    const { query, response } = exchange
    const node = this.#nodeOf(target)
    const container = this.#container(target, query)
    const asked = new URLSearchParams(query)
    asked.delete('container')
    const path = `/containerLogs/${node.pod}/${encodeURIComponent(container)}?${asked}`
    const answer = await this.get(node, path, response)
    response.writeHead(200, { 'Content-Type': answer.headers['content-type'] ?? 'text/plain' })
    response.flushHeaders()
    // Whoever stops reading a log has had enough of it: that is no failure.
    await pipeline(answer, response).catch(() => response.destroy())
  }

  /** Answers a GET with what the node has at that path. */
  async answerNode(name: string, path: string, { query, response }: Exchange): Promise<void> {
    const asked = query.size === 0 ? path : `${path}?${query}`
    const answer = await this.get(this.node(name), asked, response)
    response.writeHead(200, { 'Content-Type': answer.headers['content-type'] ?? 'text/plain' })
    response.flushHeaders()
    await pipeline(answer, response).catch(() => response.destroy())
  }

  /** A node's answer, not yet read; a refusal is thrown as a Status. Ends with `response`. */
  get(node: NodeAddress, path: string, response: Exchange['response']): Promise<IncomingMessage> {
    const { host, port } = node
    return new Promise((resolve, reject) => {
      const call = httpsRequest({ host, port, path, agent: this.#agent, timeout: CONNECT_MS }, (answer) => {
        call.setTimeout(0)
        if (answer.statusCode === 200) resolve(answer)
        else void refusalOf(answer).then(reject)
      })
      call.on('timeout', () => call.destroy(new Error('no answer in time')))
      call.on('error', (error) => reject(unreachable(node, error)))
      response.on('close', () => call.destroy())
      call.end()
    })
  }

  /** Carries an upgrade. Throws a Status before anything was sent to either side. */
  upgrade(
    subresource: string,
    target: Target,
    query: URLSearchParams,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): void {
    if (!UPGRADED.has(subresource)) throw badRequest('there is nothing to upgrade to at this path')
    const node = this.#nodeOf(target)
    const path = COMMANDS.has(subresource)
      ? `/${subresource}/${node.pod}/${encodeURIComponent(this.#container(target, query))}?${commandQuery(query)}`
      : `/portForward/${node.pod}?${query}`
    const { host, port } = node
    const far = connect({ ...this.#credentials, host, port, timeout: CONNECT_MS, ALPNProtocols: ['http/1.1'] })
    const end = () => {
      far.destroy()
      socket.destroy()
    }
    far.on('timeout', () => far.destroy(new Error('no connection in time')))
    far.once('secureConnect', () => {
      far.setTimeout(0)
      far.setNoDelay(true)
      far.write(requestHead(request, path, host, port))
      if (head.length > 0) far.write(head)
      far.pipe(socket)
      socket.pipe(far)
    })
    far.on('error', (error) => {
      if (far.bytesRead > 0 || !socket.writable) return end()
      socket.end(refusalHead(unreachable(node, error)))
    })
    socket.on('error', end)
    far.on('close', () => socket.end())
    socket.on('close', () => far.destroy())
  }

  /** Where the pod's node is reached. */
  #nodeOf(target: Target): NodeAddress & { readonly pod: string } {
    const pod = this.#registry.get(target).object
    const name = stringAt(pod, 'spec', 'nodeName')
    if (name === '') throw badRequest(`pod ${target.name} does not have a host assigned`)
    const path = `${encodeURIComponent(target.namespace)}/${encodeURIComponent(target.name)}`
    return { ...this.node(name), pod: path }
  }

  node(name: string): NodeAddress {
    const node = this.#registry.get({ kind: nodeKind, namespace: '', name, subresource: undefined }).object
    const port = at(node, 'status', 'daemonEndpoints', 'kubeletEndpoint', 'Port')
    const addresses = listAt(node, 'status', 'addresses')
    const host = ['Hostname', 'InternalDNS', 'InternalIP']
      .map((type) =>
        stringAt(
          addresses.find((item) => stringAt(item, 'type') === type),
          'address',
        ),
      )
      .find((address) => address !== '')
    if (typeof port === 'number' && port > 0 && host !== undefined) return { name, host, port }
    throw new ApiStatusError(503, 'ServiceUnavailable', `node ${name} says of no kubelet where it is reached`)
  }

  /** The container that was asked for; a pod with only one needs no name. */
  #container(target: Target, query: URLSearchParams): string {
    const pod = this.#registry.get(target).object
    const names = (field: string) => listAt(pod, 'spec', field).map((item) => stringAt(item, 'name'))
    const own = names('containers')
    const all = [...own, ...names('initContainers'), ...names('ephemeralContainers')]
    const asked = query.get('container') ?? ''
    if (asked !== '') {
      if (all.includes(asked)) return asked
      throw badRequest(`container ${asked} is not valid for pod ${target.name}`)
    }
    const chosen = stringAt(pod, 'metadata', 'annotations', 'kubectl.kubernetes.io/default-container')
    if (own.includes(chosen)) return chosen
    if (all.length === 1) return all[0]!
    const init = names('initContainers')
    const more = init.length === 0 ? '' : ` or one of the init containers: [${init.join(' ')}]`
    throw badRequest(
      `a container name must be specified for pod ${target.name}, choose one of: [${own.join(' ')}]${more}`,
    )
  }
}

export interface NodeAddress {
  readonly name: string
  readonly host: string
  readonly port: number
}

/** A kubelet says `input` where the API says `stdin`, and 1 where it says true. */
function commandQuery(query: URLSearchParams): URLSearchParams {
  const asked = new URLSearchParams()
  const names = { stdin: 'input', stdout: 'output', stderr: 'error', tty: 'tty' } as const
  for (const [ours, theirs] of Object.entries(names)) {
    if (['1', 'true'].includes(query.get(ours) ?? '')) asked.set(theirs, '1')
  }
  for (const word of query.getAll('command')) asked.append('command', word)
  return asked
}

function requestHead(request: IncomingMessage, path: string, host: string, port: number): string {
  const lines = [`${request.method} ${path} HTTP/1.1`, `Host: ${host.includes(':') ? `[${host}]` : host}:${port}`]
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index]!
    if (!OWN_HEADERS.has(name.toLowerCase())) lines.push(`${name}: ${request.rawHeaders[index + 1]}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** A refused upgrade on a bare connection. */
export function refusalHead(error: ApiStatusError): string {
  const body = JSON.stringify(error.toStatus())
  return `HTTP/1.1 ${error.httpCode} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
}

async function refusalOf(answer: IncomingMessage): Promise<ApiStatusError> {
  let text = ''
  try {
    for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk
      if (text.length > MAX_ERROR_BYTES) break
    }
  } catch {
    // What came has to do.
  }
  const code = answer.statusCode ?? 502
  return new ApiStatusError(code, REASONS[code] ?? 'InternalError', text.trim() || `the node answered with ${code}`)
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  429: 'TooManyRequests',
  501: 'NotImplemented',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

const unreachable = ({ name }: NodeAddress, error: Error) =>
  new ApiStatusError(503, 'ServiceUnavailable', `the kubelet of node ${name} cannot be reached: ${error.message}`)
