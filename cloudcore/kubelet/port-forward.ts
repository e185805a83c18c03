import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Clock } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import { SpdyConnection } from '../../api/spdy/connection.ts'
import type { SpdyStream } from '../../api/spdy/stream.ts'
import type { StreamBroker } from '../streams/broker.ts'
import type { PlacedPod } from './pod-finder.ts'

/** As a kubelet: the second stream of a pair has to follow within this. */
const PAIR_WITHIN_MS = 30_000
const MAX_STREAMS = 512

interface Pair {
  data?: SpdyStream
  error?: SpdyStream
  cancelWait?: () => void
}

/** Serves one `kubectl port-forward`: each connection it takes is a pair of streams here and a stream of the gateway. */
export async function servePortForward(
  socket: Duplex,
  pod: PlacedPod,
  broker: StreamBroker,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const gone = new AbortController()
  const pairs = new Map<string, Pair>()
  const until = AbortSignal.any([gone.signal, signal])
  const connection = new SpdyConnection(socket, {
    role: 'server',
    maxStreams: MAX_STREAMS,
    onStream: (stream) => {
      const type = stream.headers.get('streamtype')
      const port = Number(stream.headers.get('port'))
      if ((type !== 'data' && type !== 'error') || !Number.isInteger(port) || port < 1 || port > 65_535) {
        stream.destroy()
        return
      }
      stream.accept()
      // Clients without request ids number their streams: the error stream first, its data two later.
      const id = stream.headers.get('requestid') ?? `#${type === 'error' ? stream.id : stream.id - 2}`
      const pair = pairs.get(id) ?? {}
      if (pair[type] !== undefined) {
        stream.destroy()
        return
      }
      pair[type] = stream
      if (pair.data === undefined || pair.error === undefined) {
        pairs.set(id, pair)
        const timer = clock.after(PAIR_WITHIN_MS, () => {
          pairs.delete(id)
          stream.destroy()
        })
        pair.cancelWait = () => timer.cancel()
        return
      }
      pair.cancelWait?.()
      pairs.delete(id)
      void forward(broker, pod, port, pair.data, pair.error, until)
    },
  })
  const stop = () => connection.destroy()
  signal.addEventListener('abort', stop, { once: true })
  await connection.closed
  signal.removeEventListener('abort', stop)
  for (const pair of pairs.values()) pair.cancelWait?.()
  gone.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever forwarded the port went away'))
}

async function forward(
  broker: StreamBroker,
  pod: PlacedPod,
  port: number,
  data: SpdyStream,
  error: SpdyStream,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, uid, gateway } = pod
  error.resume()
  const stop = new AbortController()
  const reset = () => stop.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'the forwarded connection was given up'))
  data.once('close', reset)
  try {
    const target = { namespace, pod: pod.pod, uid, port }
    const stream = await broker.dial({
      ...{ gateway, kind: 'portForward', target },
      signal: AbortSignal.any([signal, stop.signal]),
    })
    const channel = stream.channel(CHANNEL.stdin)
    const both = Promise.allSettled([pipeline(data, channel), pipeline(channel, data)])
    await stream.outcome.finally(() => both)
    error.end()
  } catch (thrown) {
    // kubectl resets a connection whose other end has closed; told of an error, it would end all the others.
    if (stop.signal.aborted) {
      error.end()
      return
    }
    const { message } = toSluiceError(thrown)
    error.end(`error forwarding port ${port} to pod ${namespace}/${pod.pod}: ${message}`)
    if (!data.writableEnded) data.end()
  }
}
