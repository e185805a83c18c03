import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { SluiceError } from '../../../../api/errors.ts'
import { SpdyConnection } from '../../../../api/spdy/connection.ts'
import type { SpdyStream } from '../../../../api/spdy/stream.ts'

/** Connects to a TCP port of this machine; tests put a network of their own in between. */
export type Dial = (port: number, host: string, signal: AbortSignal) => Promise<Duplex>

export const dialTcp: Dial = async (port, host, signal) => {
  const socket = connect({ port, host, noDelay: true, allowHalfOpen: true, signal })
  await once(socket, 'connect', { signal })
  return socket
}

/**
 * Upgrades to SPDY/3.1 what the runtime gave the address of. Its web sockets know no end of input (`v4.channel.k8s.io`),
 * so `kubectl cp` into a pod would never end.
 */
export async function openSpdy(
  address: string,
  protocol: string,
  dial: Dial,
  signal: AbortSignal,
): Promise<SpdyConnection> {
  const url = new URL(address)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const socket = await dial(Number(url.port || 80), host, signal)
  const abort = () => socket.destroy()
  signal.addEventListener('abort', abort, { once: true })
  try {
    const asked = request({
      createConnection: () => socket,
      method: 'POST',
      path: url.pathname + url.search,
      headers: {
        host: url.host,
        connection: 'Upgrade',
        upgrade: 'SPDY/3.1',
        'x-stream-protocol-version': protocol,
        'content-length': 0,
      },
    })
    asked.end()
    const upgraded = await new Promise<{ answer: IncomingMessage; head: Buffer }>((resolve, reject) => {
      asked.once('upgrade', (answer, _, head) => resolve({ answer, head }))
      asked.once('response', (answer) => {
        answer.resume()
        reject(broken(`it answered ${answer.statusCode}`))
      })
      asked.once('error', (cause) => reject(signal.aborted ? signal.reason : broken(cause.message, cause)))
      socket.once('close', () => reject(signal.aborted ? signal.reason : broken('the connection was closed')))
    })
    const connection = new SpdyConnection(socket, { role: 'client' })
    if (upgraded.head.length > 0) socket.unshift(upgraded.head)
    return connection
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Opens a stream and waits until the other side has it: streams that come late are not waited for by a command. */
export async function openStream(
  connection: SpdyConnection,
  headers: Readonly<Record<string, string>>,
): Promise<SpdyStream> {
  const stream = connection.open(new Map(Object.entries(headers)))
  await stream.accepted
  return stream
}

const broken = (why: string, cause?: unknown): SluiceError =>
  new SluiceError('SLUICE_POD_RUNTIME_STREAM', `A stream of the container runtime could not be opened: ${why}`, {
    hint: 'Try again; when it stays, look at the log of the container runtime.',
    ...(cause === undefined ? {} : { cause }),
  })
