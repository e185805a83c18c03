import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { SluiceError } from '../../api/errors.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import type { StreamBroker } from '../streams/broker.ts'
import type { PlacedPod } from './pod-finder.ts'
import { count, flag } from './request.ts'

/** Answers `containerLogs`. Rejects before the first byte where there is nothing to show. */
export async function answerLogs(
  broker: StreamBroker,
  pod: PlacedPod,
  container: string,
  query: URLSearchParams,
  nowMs: number,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const sinceMs = since(query, nowMs)
  const tailLines = count(query, 'tailLines')
  const limitBytes = count(query, 'limitBytes')
  const { namespace, uid, gateway } = pod
  const target = {
    ...{ namespace, pod: pod.pod, uid, container },
    ...{ follow: flag(query, 'follow'), timestamps: flag(query, 'timestamps'), previous: flag(query, 'previous') },
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  }
  const stream = await broker.dial({ gateway, kind: 'logs', target, signal })
  const text = stream.channel(CHANNEL.stdout)
  response.writeHead(200, { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' })
  response.flushHeaders()
  try {
    await pipeline(text, response)
    await stream.outcome
  } finally {
    stream.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever read the log went away'))
  }
}

/** The earliest moment wanted, milliseconds since 1970. */
function since(query: URLSearchParams, nowMs: number): number | undefined {
  const seconds = count(query, 'sinceSeconds')
  if (seconds !== undefined) return Math.max(0, nowMs - seconds * 1000)
  const time = query.get('sinceTime')
  if (time === null || time === '') return undefined
  const atMs = Date.parse(time)
  if (Number.isNaN(atMs)) {
    throw new SluiceError('SLUICE_KUBELET_REQUEST', `sinceTime is no RFC 3339 time: '${time.slice(0, 40)}'`)
  }
  return Math.max(0, atMs)
}
