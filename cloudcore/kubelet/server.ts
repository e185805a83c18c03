import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { KubeClient } from '../kube/client.ts'
import type { StreamBroker } from '../streams/broker.ts'
import { NodeAccess, type NodeAction } from './access.ts'
import { refuse, refuseUpgrade } from './answers.ts'
import { connectCommand, type Wishes } from './command.ts'
import { answerLogs } from './logs.ts'
import { type PlacedPod, placePod } from './pod-finder.ts'
import { servePortForward } from './port-forward.ts'
import { flag, type NodeRequest, readPath } from './request.ts'
import { spdyCaller } from './spdy-command.ts'
import { answerAboutNode } from './stats.ts'
import type { StatsKeeper } from './stats-keeper.ts'
import { upgradeToSpdy, WebSocketUpgrade, wantedTransport } from './upgrade.ts'
import { websocketCaller } from './websocket-command.ts'

export interface KubeletServerOptions {
  readonly host: string
  readonly port: number
  /** `ca`: whose client certificates are looked at, one PEM text each. */
  readonly tls: { readonly key: string; readonly cert: string; readonly ca: readonly string[] }
  readonly client: KubeClient
  readonly broker: StreamBroker
  readonly stats: StatsKeeper
  readonly clock: Clock
  readonly onTrouble: (error: SluiceError) => void
}

export interface KubeletServer extends AsyncDisposable {
  readonly port: number
  renewTls(tls: { readonly key: string; readonly cert: string }): void
}

/**
 * What an API server takes for the kubelet of every gateway: one TLS listener, since the paths name namespace and pod.
 * Throws SLUICE_KUBELET_PORT_BUSY, SLUICE_KUBELET_LISTEN.
 */
export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  const { tls } = options
  const stopping = new AbortController()
  const face = new Face(options, stopping.signal)
  const server = createServer(
    {
      ...{ key: tls.key, cert: tls.cert, ca: [...tls.ca] },
      // Whoever has no certificate may have a token; the review decides, not the handshake.
      ...{ requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2' as const },
      ...{ maxHeaderSize: 64 * 1024, headersTimeout: 15_000, noDelay: true },
    },
    (request, response) => void face.answer(request, response),
  )
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  server.on('upgrade', (request, socket, head) => void face.upgrade(request, socket, head))
  await listen(server, options.host, options.port)
  return {
    port: (server.address() as AddressInfo).port,
    renewTls: ({ key, cert }) => server.setSecureContext({ key, cert, ca: [...tls.ca] }),
    async [Symbol.asyncDispose]() {
      stopping.abort(new SluiceError('SLUICE_STREAM_CLOSING', 'the cloud core stops'))
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      await new Promise((resolve) => setImmediate(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

class Face {
  readonly #options: KubeletServerOptions
  readonly #access: NodeAccess
  readonly #webSockets = new WebSocketUpgrade()
  readonly #signal: AbortSignal

  constructor(options: KubeletServerOptions, signal: AbortSignal) {
    this.#options = options
    this.#access = new NodeAccess(options.client, options.clock)
    this.#signal = signal
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever asked went away')))
    const signal = AbortSignal.any([gone.signal, this.#signal])
    try {
      const { asked, query } = split(request)
      if (asked.t === 'healthz') {
        response.end('ok')
        return
      }
      if (asked.t === 'exec' || asked.t === 'attach' || asked.t === 'portForward') {
        throw new SluiceError('SLUICE_KUBELET_PROTOCOL', 'an upgrade to SPDY/3.1 or WebSocket is needed here')
      }
      if (request.method !== 'GET') throw new SluiceError('SLUICE_KUBELET_METHOD', 'only GET is possible here')
      const { client, broker, clock, stats } = this.#options
      if (asked.t !== 'logs') {
        const gateway = stats.oneGateway(asked.gateway)
        await this.#access.check(request, { verb: 'get', node: gateway, subresource: SUBRESOURCE[asked.t] }, signal)
        await answerAboutNode(asked.t, gateway, { client, stats }, response, signal)
        return
      }
      const pod = await this.#admit(request, asked, 'get', signal)
      const container = containerIn(pod, asked.container)
      await answerLogs(broker, pod, container, query, clock.now(), response, signal)
    } catch (thrown) {
      refuse(response, thrown)
    }
  }

  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy())
    const gone = new AbortController()
    socket.once('close', () => gone.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever asked went away')))
    const signal = AbortSignal.any([gone.signal, this.#signal])
    let upgraded = false
    try {
      const { asked, query } = split(request)
      const verb = request.method === 'POST' ? 'create' : 'get'
      if (asked.t === 'portForward') {
        const transport = wantedTransport(request, 'ports')
        const pod = await this.#admit(request, asked, verb, signal)
        upgraded = true
        const spdy =
          transport === 'spdy'
            ? upgradeToSpdy(request, socket, head, 'ports')
            : await this.#webSockets.ports(request, socket, head)
        await servePortForward(spdy, pod, this.#options.broker, this.#options.clock, this.#signal)
        return
      }
      if (asked.t !== 'exec' && asked.t !== 'attach') {
        throw new SluiceError('SLUICE_KUBELET_PATH', 'there is nothing to upgrade to at this path')
      }
      const transport = wantedTransport(request, 'command')
      const wishes = wishesOf(query)
      const pod = await this.#admit(request, asked, verb, signal)
      const target = commandTarget(asked, pod, query, wishes)
      const { gateway } = pod
      const stream = await this.#options.broker.dial({ gateway, kind: asked.t, target, signal })
      upgraded = true
      try {
        const caller =
          transport === 'spdy'
            ? await spdyCaller(upgradeToSpdy(request, socket, head, 'command'), wishes)
            : websocketCaller(await this.#webSockets.command(request, socket, head), wishes)
        await connectCommand(caller, stream)
      } finally {
        stream.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever ran the command went away'))
      }
    } catch (thrown) {
      if (upgraded) socket.destroy()
      else refuseUpgrade(socket, thrown)
      const error = toSluiceError(thrown)
      if (error.code === 'SLUICE_INTERNAL') this.#options.onTrouble(error)
    }
  }

  async #admit(
    request: IncomingMessage,
    asked: { readonly namespace: string; readonly pod: string },
    verb: NodeAction['verb'],
    signal: AbortSignal,
  ): Promise<PlacedPod> {
    // Who may not ask about any node learns nothing of pods, not even whether there is one.
    let pod: PlacedPod | undefined
    let missing: unknown
    try {
      pod = await placePod(this.#options.client, asked.namespace, asked.pod, signal)
    } catch (thrown) {
      missing = thrown
    }
    await this.#access.check(request, { verb, node: pod?.gateway ?? '', subresource: 'proxy' }, signal)
    if (pod === undefined) throw missing
    return pod
  }
}

const SUBRESOURCE = { pods: 'proxy', summary: 'stats', resource: 'metrics' } as const

function split(request: IncomingMessage): { asked: NodeRequest; query: URLSearchParams } {
  const target = request.url ?? '/'
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  return { asked: readPath(path), query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)) }
}

function wishesOf(query: URLSearchParams): Wishes {
  // The names of the API server's own paths are taken too: `stdin` is `input` at a kubelet.
  const either = (one: string, other: string) => flag(query, one) || flag(query, other)
  const wishes = {
    stdin: either('input', 'stdin'),
    stdout: either('output', 'stdout'),
    stderr: either('error', 'stderr'),
    tty: flag(query, 'tty'),
  }
  if (wishes.stdin || wishes.stdout || wishes.stderr) return wishes
  throw new SluiceError('SLUICE_KUBELET_REQUEST', 'you must specify at least 1 of stdin, stdout, stderr')
}

function commandTarget(
  asked: { readonly t: 'exec' | 'attach'; readonly container: string },
  pod: PlacedPod,
  query: URLSearchParams,
  wishes: Wishes,
) {
  const { namespace, uid } = pod
  const container = containerIn(pod, asked.container)
  const target = { namespace, pod: pod.pod, uid, container, ...wishes }
  if (asked.t === 'attach') return target
  const command = query.getAll('command')
  if (command.length > 0 && command[0] !== '') return { ...target, command }
  throw new SluiceError('SLUICE_KUBELET_REQUEST', 'you must specify a command for the container')
}

function containerIn(pod: PlacedPod, name: string): string {
  if (pod.containers.includes(name)) return name
  const names = pod.containers.join(', ')
  throw new SluiceError('SLUICE_POD_CONTAINER', `container ${name} is not valid for pod ${pod.pod}; it has ${names}`)
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const busy = cause.code === 'EADDRINUSE'
      const message = `the node face cannot listen on ${host}:${port}: ${cause.message}`
      const hint = 'Stop what uses the port, or choose another: --kubelet-port PORT'
      reject(new SluiceError(busy ? 'SLUICE_KUBELET_PORT_BUSY' : 'SLUICE_KUBELET_LISTEN', message, { cause, hint }))
    })
    server.listen(port, host, 1024, resolve)
  })
}
