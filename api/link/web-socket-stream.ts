import type { StreamEndpoint, StreamSocket } from './stream-endpoint.ts'

/** What of a WebSocket (package `ws`) a stream uses; api/ itself does not depend on that package. */
export interface StreamWebSocket {
  send(data: Uint8Array | string, options: { binary: boolean }, sent: () => void): void
  readonly bufferedAmount: number
  pause(): void
  resume(): void
  ping(): void
  close(code: number): void
  terminate(): void
  on(event: 'message', listener: (data: unknown, isBinary: boolean) => void): unknown
  on(event: 'pong' | 'ping', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'close', listener: (code: number) => void): unknown
}

/** A peer that does not answer the closing handshake is cut off after this. */
const CLOSE_MS = 5_000

/** Ties an open WebSocket to one side of a stream. */
export function webSocketStream(
  socket: StreamWebSocket,
  make: (connection: StreamSocket) => StreamEndpoint,
): StreamEndpoint {
  let reason: string | undefined
  const endpoint = make({
    send: (message, sent) => socket.send(message, { binary: typeof message !== 'string' }, sent),
    get bufferedBytes() {
      return socket.bufferedAmount
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    ping: () => socket.ping(),
    close: () => {
      socket.close(1000)
      // As long as data goes out the other side is there and only slow.
      let unsent = Number.POSITIVE_INFINITY
      const look = () => {
        const left = socket.bufferedAmount
        if (left === 0 || left >= unsent) socket.terminate()
        else setTimeout(look, CLOSE_MS).unref()
        unsent = left
      }
      const timer = setTimeout(look, CLOSE_MS).unref()
      socket.on('close', () => clearTimeout(timer))
    },
  })
  socket.on('message', (data, isBinary) => {
    // `ws` gives a Buffer for either unless told otherwise.
    const bytes = data as Buffer
    endpoint.receive(isBinary ? bytes : bytes.toString('utf8'))
  })
  socket.on('pong', () => endpoint.heard())
  socket.on('ping', () => endpoint.heard())
  socket.on('error', (error) => {
    reason = error.message
  })
  socket.on('close', (code) => endpoint.closed(reason ?? `the connection ended (${code})`))
  return endpoint
}
