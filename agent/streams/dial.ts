import { WebSocket } from 'ws'
import { SluiceError } from '../../api/errors.ts'
import { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import {
  MAX_STREAM_MESSAGE_BYTES,
  STREAM_PATH,
  STREAM_SECRET_HEADER,
  STREAM_SUBPROTOCOL,
} from '../../api/link/streams.ts'
import { webSocketStream } from '../../api/link/web-socket-stream.ts'
import type { Identity } from '../link/identity.ts'
import { refusalOf } from '../link/websocket.ts'
import type { OpenStream } from './host.ts'

const HANDSHAKE_TIMEOUT_MS = 10_000

/** Opens streams to the hub with mutual TLS; the identity is read for each, so that a renewed certificate is used. */
export function streamDialler(identity: () => Identity): OpenStream {
  return (dial, signal) =>
    new Promise((resolve, reject) => {
      const { hubUrl, keyPem, certPem, caPem } = identity()
      const socket = new WebSocket(hubUrl + STREAM_PATH + dial.id, [STREAM_SUBPROTOCOL], {
        key: keyPem,
        cert: certPem,
        ca: caPem,
        minVersion: 'TLSv1.3',
        perMessageDeflate: false,
        maxPayload: Math.max(MAX_STREAM_MESSAGE_BYTES, 64 * 1024),
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
        followRedirects: false,
        headers: { [STREAM_SECRET_HEADER]: dial.secret },
      })
      const abort = () => {
        reject(signal.reason)
        socket.terminate()
      }
      signal.addEventListener('abort', abort, { once: true })
      socket.on('error', (cause) => {
        const message = `the hub could not be reached for a stream: ${cause.message}`
        reject(new SluiceError('SLUICE_STREAM_UNREACHABLE', message, { cause }))
      })
      socket.on('unexpected-response', (_request, response) => {
        void refusalOf(response).then((said) => {
          reject(new SluiceError('SLUICE_STREAM_REFUSED', `the hub does not take the stream: ${said}`))
          socket.terminate()
        })
      })
      socket.on('open', () => {
        signal.removeEventListener('abort', abort)
        resolve(webSocketStream(socket, (connection) => new StreamEndpoint(connection)))
      })
      if (signal.aborted) abort()
    })
}
