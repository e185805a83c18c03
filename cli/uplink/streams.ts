import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { StreamCall, StreamHandler } from '../../agent/streams/host.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import {
  type PodStreamKind,
  type PodTarget,
  readAttachTarget,
  readExecTarget,
  readLogsTarget,
  readPortTarget,
} from '../../api/link/pod-streams.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import type { Json } from '../../api/resources.ts'
import { SpdyConnection } from '../../api/spdy/connection.ts'
import type { SpdyStream } from '../../api/spdy/stream.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import { objectPath, PODS } from '../../cloudcore/kube/paths.ts'
import { commandEnd, readSome } from './command-end.ts'

export interface StreamsBelowOptions {
  readonly client: Pick<KubeClient, 'upgrade'> & {
    streamApart(...asked: Parameters<KubeClient['streamApart']>): Promise<Readable>
  }
  /** Whether the pod of that name here is the one that is meant above. */
  readonly has: (target: PodTarget) => boolean
  /** What the gateways use together. */
  readonly stats: (signal: AbortSignal) => Promise<Json>
}

/**
 * Serves the streams of pods that run beneath this supernode: each is asked of its own Kubernetes API, as `kubectl` would
 * ask, and so reaches whatever runs the pod, be it a gateway, a node of the cluster or one more supernode. Nothing is
 * gathered here: a reader that does not read holds up the writer, through every level.
 */
export function streamsBelow(options: StreamsBelowOptions): (kind: string) => StreamHandler | undefined {
  const handlers: Readonly<Record<PodStreamKind, (call: StreamCall) => Promise<Json>>> = {
    logs: (call) => logs(options, call),
    exec: (call) => command(options, 'exec', call),
    attach: (call) => command(options, 'attach', call),
    portForward: (call) => portForward(options, call),
    stats: (call) => {
      call.ready()
      return options.stats(call.signal)
    },
  }
  return (kind) => {
    if (!Object.hasOwn(handlers, kind)) return undefined
    const handle = handlers[kind as PodStreamKind]
    return (call) =>
      handle(call).catch((thrown: unknown) => {
        throw asSaidBelow(thrown)
      })
  }
}

async function logs(options: StreamsBelowOptions, { target, endpoint, ready, signal }: StreamCall): Promise<Json> {
  const wanted = readLogsTarget(target)
  const { container, follow, timestamps, previous, tailLines, limitBytes, sinceMs } = wanted
  const query = {
    ...{ container, follow, timestamps, previous, tailLines, limitBytes },
    sinceTime: sinceMs === undefined ? undefined : new Date(sinceMs).toISOString(),
  }
  const text = await options.client.streamApart(pathOf(options, wanted, 'log'), query, signal)
  ready()
  await pipeline(text, endpoint.channel(CHANNEL.stdout))
  return {}
}

async function command(options: StreamsBelowOptions, kind: 'exec' | 'attach', call: StreamCall): Promise<Json> {
  const { endpoint, ready, target, signal } = call
  const wanted = kind === 'exec' ? readExecTarget(target) : readAttachTarget(target)
  const query = new URLSearchParams({ container: wanted.container })
  const names = (['stdin', 'stdout', 'stderr'] as const).filter((name) => wanted[name])
  for (const name of names) query.set(name, 'true')
  if (wanted.tty) query.set('tty', 'true')
  if ('command' in wanted)
    for (const word of (wanted as { command: readonly string[] }).command) query.append('command', word)
  await using connection = await connect(options, wanted, kind, query, 'v4.channel.k8s.io', signal)
  const error = connection.open('error')
  const streams = new Map(names.map((name) => [name, connection.open(name)]))
  const resize = wanted.tty ? connection.open('resize') : undefined
  await Promise.all([error, ...streams.values()].map((stream) => stream.accepted))
  // What ends on our side at once lets the connection close as soon as all has been sent, and not by a time limit.
  for (const stream of [error, streams.get('stdout'), streams.get('stderr')]) stream?.end()
  const said = readSome(error)
  const [stdin, stdout, stderr] = [streams.get('stdin'), streams.get('stdout'), streams.get('stderr')]
  if (stdin !== undefined) void pipeline(endpoint.channel(CHANNEL.stdin), stdin).catch(() => {})
  if (resize !== undefined) void pipeline(endpoint.channel(CHANNEL.resize), resize).catch(() => {})
  const drained = Promise.allSettled([
    ...(stdout === undefined ? [] : [pipeline(stdout, endpoint.channel(CHANNEL.stdout))]),
    ...(stderr === undefined ? [] : [pipeline(stderr, endpoint.channel(CHANNEL.stderr))]),
  ])
  ready()
  const end = commandEnd(await said)
  for (const stream of [stdin, resize]) stream?.end()
  await drained
  return { ...end }
}

async function portForward(options: StreamsBelowOptions, call: StreamCall): Promise<Json> {
  const { endpoint, ready, target, signal } = call
  const wanted = readPortTarget(target)
  const query = new URLSearchParams({ ports: String(wanted.port) })
  await using connection = await connect(options, wanted, 'portforward', query, 'portforward.k8s.io', signal)
  const more = { port: String(wanted.port), requestid: '0' }
  const error = connection.open('error', more)
  error.end()
  const data = connection.open('data', more)
  await Promise.all([error.accepted, data.accepted])
  const channel = endpoint.channel(CHANNEL.stdin)
  const refused = readSome(error).then((text) => {
    if (text === '') return
    // Whoever is above says once more what was asked for.
    const why = text.replace(/^(error forwarding port \d+ to pod \S+: )+/, '')
    throw new SluiceError('SLUICE_UPLINK_STREAM', why)
  })
  ready()
  await Promise.all([pipeline(channel, data), pipeline(data, channel), refused])
  return {}
}

interface Below extends AsyncDisposable {
  open(streamtype: string, more?: Readonly<Record<string, string>>): SpdyStream
}

/** A connection of its own for each: what holds up one stream holds up no other. */
async function connect(
  options: StreamsBelowOptions,
  target: PodTarget,
  subresource: string,
  query: URLSearchParams,
  protocol: string,
  signal: AbortSignal,
): Promise<Below> {
  const socket = await options.client.upgrade(pathOf(options, target, subresource), query, protocol, signal)
  const connection = new SpdyConnection(socket, { role: 'client' })
  const abort = () => connection.destroy(toSluiceError(signal.reason))
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  return {
    open: (streamtype, more = {}) => connection.open(new Map(Object.entries({ streamtype, ...more }))),
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', abort)
      connection.destroy()
    },
  }
}

function pathOf({ has }: StreamsBelowOptions, target: PodTarget, subresource: string): string {
  const { namespace, pod } = target
  if (has(target)) return `${objectPath(PODS, pod, namespace)}/${subresource}`
  const message = `pod "${pod}" of namespace "${namespace}" is not at this supernode`
  throw new SluiceError('SLUICE_POD_NOT_FOUND', message, { hint: 'It may only be on its way; try again.' })
}

const CODES: Readonly<Record<string, string>> = {
  SLUICE_KUBE_NOT_FOUND: 'SLUICE_POD_NOT_FOUND',
  SLUICE_KUBE_REFUSED: 'SLUICE_POD_CONTAINER',
  SLUICE_KUBE_UNAVAILABLE: 'SLUICE_STREAM_NO_LINK',
  SLUICE_KUBE_UNREACHABLE: 'SLUICE_STREAM_NO_LINK',
  SLUICE_SPDY_LOST: 'SLUICE_STREAM_LOST',
  SLUICE_SPDY_RESET: 'SLUICE_STREAM_LOST',
  // A log that breaks off.
  SLUICE_INTERNAL: 'SLUICE_STREAM_LOST',
}

/** What the API beneath refused, as a gateway would have said it; through which paths it came interests nobody above. */
function asSaidBelow(thrown: unknown): SluiceError {
  const error = toSluiceError(thrown)
  const code = CODES[error.code]
  if (code === undefined) return error
  const message = error.message.replace(/^(GET|POST) \/api\/v1\/\S+: /, '')
  return new SluiceError(code, message, { cause: error, ...(error.hint === undefined ? {} : { hint: error.hint }) })
}
