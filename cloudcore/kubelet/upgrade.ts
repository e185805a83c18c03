import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws'
import { SluiceError } from '../../api/errors.ts'
import { COMMAND_PROTOCOLS } from './websocket-command.ts'

/** Protocols of a command over SPDY; the framing of all of them is that of v4 there, older ones tell no exit code. */
const SPDY_COMMAND = ['v5.channel.k8s.io', 'v4.channel.k8s.io']
export const SPDY_PORTS = ['portforward.k8s.io']
/** SPDY inside WebSocket messages; not a token as RFC 6455 wants it, and yet what kubectl says. */
export const TUNNELLED_PORTS = 'SPDY/3.1+portforward.k8s.io'
const MAX_MESSAGE_BYTES = 1024 * 1024

export type UpgradeKind = 'command' | 'ports'
export type Transport = 'spdy' | 'websocket'

/** How a request wants to go on. Throws SLUICE_KUBELET_PROTOCOL where it is nothing that is spoken here. */
export function wantedTransport(request: IncomingMessage, kind: UpgradeKind): Transport {
  const upgrade = (request.headers.upgrade ?? '').toLowerCase()
  if (upgrade === 'spdy/3.1') {
    if (spdyProtocol(request, kind) !== undefined) return 'spdy'
    throw unspoken('none of the stream protocols that were offered')
  }
  if (upgrade !== 'websocket') throw unspoken(`an upgrade to '${upgrade.slice(0, 40)}'`)
  const offered = words(request.headers['sec-websocket-protocol'])
  const known: readonly string[] = kind === 'ports' ? [TUNNELLED_PORTS] : COMMAND_PROTOCOLS
  if (known.some((protocol) => offered.includes(protocol))) return 'websocket'
  throw unspoken(`none of the WebSocket protocols that were offered (${offered.join(', ').slice(0, 200)})`)
}

/** Answers 101 and gives the bare connection, with what came behind the request still in it. */
export function upgradeToSpdy(request: IncomingMessage, socket: Duplex, head: Buffer, kind: UpgradeKind): Duplex {
  const protocol = spdyProtocol(request, kind)
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: SPDY/3.1']
  if (protocol !== undefined && protocol !== '') lines.push(`X-Stream-Protocol-Version: ${protocol}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  if (head.length > 0) socket.unshift(head)
  return socket
}

export class WebSocketUpgrade {
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered) => COMMAND_PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  })
  readonly #tunnels = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    maxPayload: MAX_MESSAGE_BYTES,
  })

  constructor() {
    this.#tunnels.on('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${TUNNELLED_PORTS}`))
  }

  command(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<WebSocket> {
    return new Promise((resolve) => this.#server.handleUpgrade(request, socket, head, resolve))
  }

  /** `ws` refuses the protocol's name, so it does not get to see it; the answer says it all the same. */
  ports(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<Duplex> {
    delete request.headers['sec-websocket-protocol']
    return new Promise((resolve) =>
      this.#tunnels.handleUpgrade(request, socket, head, (ws) =>
        resolve(createWebSocketStream(ws, { readableHighWaterMark: 256 * 1024, writableHighWaterMark: 256 * 1024 })),
      ),
    )
  }
}

/** The first of the offered protocols that is spoken; the empty one for a port-forwarder that offers none. */
function spdyProtocol(request: IncomingMessage, kind: UpgradeKind): string | undefined {
  const offered = words(request.headers['x-stream-protocol-version'])
  if (offered.length === 0) return kind === 'ports' ? '' : undefined
  return offered.find((protocol) => (kind === 'ports' ? SPDY_PORTS : SPDY_COMMAND).includes(protocol))
}

function words(header: string | readonly string[] | undefined): string[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(',')
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

const unspoken = (what: string) =>
  new SluiceError('SLUICE_KUBELET_PROTOCOL', `this node does not speak ${what}`, {
    hint: 'It speaks SPDY/3.1 and WebSocket with v5.channel.k8s.io, v4.channel.k8s.io and portforward.k8s.io.',
  })
