import type { IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import { LINK_PATH, LINK_SUBPROTOCOL, MAX_FRAME_BYTES } from '../../api/link/messages.ts'
import type { Identity } from './identity.ts'
import type { Dial, Transport } from './transport.ts'

const HANDSHAKE_TIMEOUT_MS = 10_000
/** Whoever waits for the socket to drain is woken when less than this is unsent. */
const DRAINED_BYTES = 128 * 1024
const MAX_REFUSAL_CHARS = 8192

/** Dials the hub with mutual TLS. The identity is read at every attempt, so that a renewed certificate is used. */
export function websocketDial(identity: () => Identity): Dial {
  return (events) => {
    const { hubUrl, keyPem, certPem, caPem } = identity()
    const socket = new WebSocket(hubUrl + LINK_PATH, [LINK_SUBPROTOCOL], {
      key: keyPem,
      cert: certPem,
      ca: caPem,
      minVersion: 'TLSv1.3',
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      followRedirects: false,
    })
    let reason = ''
    let peerAddress: string | undefined
    const transport: Transport = {
      get peerAddress() {
        return peerAddress
      },
      get bufferedBytes() {
        return socket.bufferedAmount
      },
      send(text) {
        if (socket.readyState !== WebSocket.OPEN) return
        socket.send(text, () => {
          if (socket.bufferedAmount < DRAINED_BYTES) events.onDrain()
        })
      },
      close(why) {
        reason ||= why
        socket.close(1000)
        // A hub that does not answer the closing handshake must not hold the connection.
        setTimeout(() => socket.terminate(), 1000).unref()
      },
    }
    socket.on('upgrade', (response) => {
      peerAddress = response.socket.remoteAddress
    })
    socket.on('open', () => events.onOpen(transport))
    socket.on('message', (data, isBinary) => events.onMessage(isBinary ? undefined : data.toString()))
    socket.on('unexpected-response', (_request, response) => {
      void refusalOf(response).then((said) => {
        reason ||= said
        socket.terminate()
      })
    })
    socket.on('error', (error) => {
      reason ||= error.message || ('code' in error ? String(error.code) : error.name)
    })
    socket.on('close', (code, text) => events.onClose(reason || text.toString() || `the connection ended (${code})`))
    return { close: transport.close }
  }
}

/** A hub that does not let a gateway in says why in JSON; anything else in between says at least a status. */
export async function refusalOf(response: IncomingMessage): Promise<string> {
  let text = ''
  try {
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk
      if (text.length > MAX_REFUSAL_CHARS) break
    }
    const { code, message, hint } = JSON.parse(text) as { code?: unknown; message?: unknown; hint?: unknown }
    if (typeof code === 'string' && typeof message === 'string') {
      return `The hub refused: ${code}: ${message}${typeof hint === 'string' ? ` (${hint})` : ''}`
    }
  } catch {
    // Not the hub's own answer.
  }
  return `the hub's address answered with HTTP status ${response.statusCode}`
}
