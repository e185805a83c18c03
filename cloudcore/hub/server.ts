import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { type WebSocket, WebSocketServer } from 'ws'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { JOIN_PATH, MAX_JOIN_BODY_BYTES, RENEW_PATH } from '../../api/link/join.ts'
import { LINK_PATH, LINK_SUBPROTOCOL, MAX_FRAME_BYTES } from '../../api/link/messages.ts'
import { STREAM_PATH } from '../../api/link/streams.ts'
import { httpStatusOf, readJson, sendError, sendJson } from '../console-api/http.ts'
import { canonicalSerial } from '../join/authority.ts'
import { gatewayOf } from '../join/identity.ts'
import type { JoinService } from '../join/join-service.ts'
import type { JoinRegistry } from '../join/registry.ts'
import type { StreamBroker } from '../streams/broker.ts'
import { StreamDoor } from '../streams/door.ts'
import type { Hub } from './hub.ts'
import type { LinkSocket } from './link-socket.ts'

export interface HubServerOptions {
  readonly host: string
  readonly port: number
  readonly tls: { readonly key: string; readonly cert: string; readonly ca: string }
  readonly hub: Hub
  readonly streams: StreamBroker
  readonly join: JoinService
  readonly registry: JoinRegistry
  readonly console: (request: IncomingMessage, response: ServerResponse) => Promise<void>
  /** Takes an upgrade that is the console's own; says whether it was. */
  readonly consoleUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean
  /** Links are refused until the devices are known: before that nobody could say what belongs to whom. */
  readonly ready: () => boolean
  readonly audit: (gateway: string | undefined, code: string, message: string) => void
}

export interface HubServer extends AsyncDisposable {
  readonly port: number
  renewTls(tls: { readonly key: string; readonly cert: string }): void
}

const JOINS_PER_WINDOW = 30
const JOIN_WINDOW_MS = 60_000

/** Serves the link, joining, the fleet's API and health on one TLS port. Throws SLUICE_HUB_PORT_BUSY, SLUICE_HUB_LISTEN. */
export async function startHubServer(options: HubServerOptions): Promise<HubServer> {
  const { tls } = options
  const limiter = new JoinLimiter()
  const server = createServer(
    { ...tls, requestCert: true, rejectUnauthorized: false, maxHeaderSize: 32 * 1024, headersTimeout: 15_000 },
    (request, response) => {
      void route(options, limiter, request, response).catch((thrown: unknown) => sendError(response, thrown))
    },
  )
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  const links = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(LINK_SUBPROTOCOL) ? LINK_SUBPROTOCOL : false),
  })
  const door = new StreamDoor(options.streams)
  server.on('upgrade', (request, socket, head) => upgrade(options, links, door, request, socket, head))
  await listen(server, options.host, options.port)
  const { port } = server.address() as AddressInfo
  return {
    port,
    renewTls: ({ key, cert }) => server.setSecureContext({ key, cert, ca: tls.ca }),
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      // The last frames and answers go out before whoever stays connected is cut off.
      await new Promise((resolve) => setTimeout(resolve, 50))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function route(
  options: HubServerOptions,
  limiter: JoinLimiter,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? '/').split('?', 1)[0]
  if (path === '/healthz') {
    const ready = options.ready()
    return sendJson(response, ready ? 200 : 503, { ready, links: options.hub.connected })
  }
  if (path !== JOIN_PATH && path !== RENEW_PATH) return options.console(request, response)
  if (request.method !== 'POST') throw new SluiceError('SLUICE_API_METHOD', `only POST is possible at ${path}`)
  limiter.check(request.socket.remoteAddress ?? '')
  const body = await readJson(request, MAX_JOIN_BODY_BYTES)
  const answer =
    path === JOIN_PATH
      ? await options.join.join(body)
      : await options.join.renew(body, shownCertificate(request.socket))
  sendJson(response, 200, answer)
}

/** Also an expired certificate counts here: the TLS handshake proved that the peer has its key. */
function shownCertificate(socket: Socket) {
  return socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
}

function upgrade(
  options: HubServerOptions,
  links: WebSocketServer,
  door: StreamDoor,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  socket.on('error', () => socket.destroy())
  const path = (request.url ?? '').split('?', 1)[0]!
  let admitted: { gateway: string; expiresMs: number }
  try {
    if (path !== LINK_PATH && !path.startsWith(STREAM_PATH)) {
      if (options.consoleUpgrade(request, socket, head)) return
      throw new SluiceError('SLUICE_API_NOT_FOUND', `there is no link at ${path}`)
    }
    admitted = admit(options, request)
    if (path !== LINK_PATH) {
      door.enter(admitted.gateway, path.slice(STREAM_PATH.length), request, socket, head)
      return
    }
  } catch (thrown) {
    const error = toSluiceError(thrown)
    const told = error.code === 'SLUICE_HUB_NOT_READY' || error.code === 'SLUICE_STREAM_UNKNOWN'
    if (!told) options.audit(gatewayShown(request), error.code, error.message)
    refuse(socket, error)
    return
  }
  links.handleUpgrade(request, socket, head, (ws) => attach(options.hub, ws, admitted))
}

function admit(options: HubServerOptions, request: IncomingMessage): { gateway: string; expiresMs: number } {
  const socket = request.socket
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  if (certificate === undefined) {
    throw new SluiceError('SLUICE_LINK_NO_CERT', 'a link needs the client certificate of a gateway', {
      hint: 'Join the gateway first: sluice token create, then sluice join',
    })
  }
  if (!(socket instanceof TLSSocket) || !socket.authorized) {
    throw new SluiceError('SLUICE_LINK_CERT_REFUSED', 'the client certificate is not valid here', {
      hint: 'If it has expired, renew it; if it is of another cloud core, join again.',
    })
  }
  const gateway = gatewayOf(certificate.subject)
  if (gateway === undefined) {
    throw new SluiceError('SLUICE_LINK_CERT_REFUSED', 'the client certificate names no gateway')
  }
  const { expiresMs } = options.registry.checkCertificate(canonicalSerial(certificate.serialNumber), gateway)
  if (!options.ready()) throw new SluiceError('SLUICE_HUB_NOT_READY', 'the hub is starting; try again in a moment')
  return { gateway, expiresMs }
}

function gatewayShown(request: IncomingMessage): string | undefined {
  const certificate = shownCertificate(request.socket)
  return certificate === undefined ? undefined : gatewayOf(certificate.subject)
}

function attach(hub: Hub, ws: WebSocket, admitted: { gateway: string; expiresMs: number }): void {
  const socket: LinkSocket = {
    send: (text) => ws.send(text, () => {}),
    close: (code, reason) => {
      ws.close(code, reason.slice(0, 120))
      // A peer that does not answer the closing handshake is cut off.
      setTimeout(() => ws.terminate(), 2_000).unref()
    },
    pause: () => ws.pause(),
    resume: () => ws.resume(),
    get bufferedBytes() {
      return ws.bufferedAmount
    },
  }
  const session = hub.accept(admitted.gateway, socket, admitted.expiresMs)
  ws.on('message', (data, isBinary) => {
    if (isBinary) {
      session.fail(new SluiceError('SLUICE_LINK_BAD_FRAME', 'frames are text, a binary one came'))
      return
    }
    session.receive(data.toString())
  })
  ws.on('error', (cause) => {
    // Too large, not UTF-8, broken framing: `ws` closes by itself after telling.
    session.fail(new SluiceError('SLUICE_LINK_BAD_FRAME', `the connection broke a rule: ${cause.message}`, { cause }))
  })
  ws.on('close', () => hub.ended(session))
}

function refuse(socket: Duplex, error: SluiceError): void {
  const status = error.code.startsWith('SLUICE_LINK_') ? 403 : httpStatusOf(error.code)
  const { code, message, hint } = error
  const body = JSON.stringify({ code, message, ...(hint === undefined ? {} : { hint }) })
  socket.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE') {
        const hint = 'Stop what uses it, or choose another: --hub-port PORT'
        return reject(new SluiceError('SLUICE_HUB_PORT_BUSY', `port ${port} on ${host} is in use`, { cause, hint }))
      }
      reject(
        new SluiceError('SLUICE_HUB_LISTEN', `the hub cannot listen on ${host}:${port}: ${cause.message}`, { cause }),
      )
    })
    server.listen(port, host, 1024, resolve)
  })
}

/** Guessing a 256-bit secret is hopeless anyway; this keeps it from costing the hub its time. */
class JoinLimiter {
  readonly #counts = new Map<string, { count: number; untilMs: number }>()

  check(address: string): void {
    const nowMs = performance.now()
    const held = this.#counts.get(address)
    if (held === undefined || held.untilMs < nowMs) {
      if (this.#counts.size > 10_000) this.#counts.clear()
      this.#counts.set(address, { count: 1, untilMs: nowMs + JOIN_WINDOW_MS })
      return
    }
    if (++held.count <= JOINS_PER_WINDOW || isLoopback(address)) return
    throw new SluiceError('SLUICE_JOIN_TOO_MANY', `more than ${JOINS_PER_WINDOW} join requests a minute`, {
      hint: 'Wait a minute.',
    })
  }
}

const isLoopback = (address: string) => address === '127.0.0.1' || address === '::1' || address === '::ffff:127.0.0.1'
