import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import { MAX_STREAM_MESSAGE_BYTES, STREAM_SECRET_HEADER, STREAM_SUBPROTOCOL } from '../../api/link/streams.ts'
import { webSocketStream } from '../../api/link/web-socket-stream.ts'
import type { StreamBroker } from './broker.ts'

/** Where gateways come with the streams they were asked for. */
export class StreamDoor {
  readonly #broker: StreamBroker
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: Math.max(MAX_STREAM_MESSAGE_BYTES, 64 * 1024),
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(STREAM_SUBPROTOCOL) ? STREAM_SUBPROTOCOL : false),
  })

  constructor(broker: StreamBroker) {
    this.#broker = broker
  }

  /** Upgrades the connection of a gateway whose certificate was checked. Throws SLUICE_STREAM_UNKNOWN before that. */
  enter(gateway: string, id: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const secret = request.headers[STREAM_SECRET_HEADER]
    const take = this.#broker.admit(gateway, id, typeof secret === 'string' ? secret : '')
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      take(webSocketStream(ws, (connection) => new StreamEndpoint(connection)))
    })
  }
}
