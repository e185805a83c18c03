import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SluiceError, toSluiceError } from '../errors.ts'
import type { ExecTarget, LogsTarget, PodTarget } from '../link/pod-streams.ts'
import { StreamEndpoint } from '../link/stream-endpoint.ts'
import { CHANNEL } from '../link/streams.ts'
import { type StreamWebSocket, webSocketStream } from '../link/web-socket-stream.ts'
import type { Json } from '../resources.ts'
import type { ConsoleGate } from './gate.ts'
import type { Session } from './sessions.ts'

/** Of the WebSocket of a terminal; the word against forged requests is offered beside it, as `csrf.WORD`. */
export const TERMINAL_PROTOCOL = 'sluice.terminal.v1'

/** A pod with its containers, and how a stream to it is opened: over the link in the cloud core, at once on a gateway. */
export interface ReachablePod extends PodTarget {
  readonly containers: readonly string[]
  open(kind: 'logs' | 'exec', target: Json, signal: AbortSignal): Promise<StreamEndpoint>
}

export interface PodDoor {
  /** Throws SLUICE_POD_NOT_FOUND. */
  readonly find: (namespace: string, name: string, signal: AbortSignal) => Promise<ReachablePod>
  /** Finishes the handshake, choosing TERMINAL_PROTOCOL. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<StreamWebSocket>
}

const MAX_TAIL = 5_000
/** What is tried where nobody says which shell. */
const SHELL = ['sh', '-c', 'command -v bash >/dev/null 2>&1 && exec bash || exec sh']

/**
 * Answers `GET /v1/pods/{namespace}/{name}/logs?container=&tail=&follow=true&previous=true` with plain text, for as long as
 * somebody reads. Rejects before the first byte where there is nothing to show.
 */
export async function answerPodLogs(
  pod: ReachablePod,
  query: URLSearchParams,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const tail = Number(query.get('tail') ?? 500)
  if (!Number.isInteger(tail) || tail < 0 || tail > MAX_TAIL) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', `'tail' is no number from 0 to ${MAX_TAIL}`)
  }
  const { namespace, uid } = pod
  const target = {
    ...{ namespace, pod: pod.pod, uid, container: containerOf(pod, query.get('container')) },
    ...{ follow: query.get('follow') === 'true', previous: query.get('previous') === 'true', tailLines: tail },
    timestamps: true,
  } satisfies LogsTarget
  const stream = await pod.open('logs', target, signal)
  response.writeHead(200, {
    ...{ 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
    'x-content-type-options': 'nosniff',
  })
  response.flushHeaders()
  try {
    await pipeline(stream.channel(CHANNEL.stdout), response)
    await stream.outcome
  } finally {
    stream.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever read the log went away'))
  }
}

const PATH = /^\/v1\/pods\/([^/]+)\/([^/]+)\/terminal$/

/**
 * Serves the WebSocket at `/v1/pods/{namespace}/{name}/terminal?container=&command=` (command: repeated, a shell by
 * default): the stream protocol of api/link/streams.ts between the browser and the command. Undefined for any other path;
 * else resolves when it is over. Refusals are HTTP answers before the upgrade.
 */
export function serveTerminal(
  gate: ConsoleGate,
  door: PodDoor,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> | undefined {
  const url = new URL(request.url ?? '/', 'http://console')
  const found = PATH.exec(url.pathname)
  if (found === null) return undefined
  const [namespace = '', name = ''] = found.slice(1).map(decodeURIComponent)
  return terminal(gate, door, { namespace, name, url }, request, socket, head)
}

async function terminal(
  gate: ConsoleGate,
  door: PodDoor,
  { namespace, name, url }: { readonly namespace: string; readonly name: string; readonly url: URL },
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const gone = new AbortController()
  socket.once('close', () => gone.abort(new SluiceError('SLUICE_STREAM_CANCELLED', 'the terminal was closed')))
  let session: Session
  try {
    session = await gate.admitUpgrade(request, url.pathname)
  } catch (thrown) {
    refuseUpgrade(socket, thrown)
    return
  }
  // A browser shows nothing of a refused upgrade: what is wrong with the pod is said in the stream.
  const front = webSocketStream(await door.upgrade(request, socket, head), (raw) => new StreamEndpoint(raw))
  using _held = gate.follow(request, () =>
    front.fail(new SluiceError('SLUICE_CONSOLE_SIGNED_OUT', 'You are not signed in, or no longer')),
  )
  const target = `pods/${namespace}/${name}/terminal`
  try {
    const pod = await door.find(namespace, name, gone.signal)
    const container = containerOf(pod, url.searchParams.get('container'))
    const asked = url.searchParams.getAll('command')
    const command = asked.length === 0 ? SHELL : asked
    const wanted = {
      ...{ namespace, pod: pod.pod, uid: pod.uid, container, command: [...command] },
      ...{ stdin: true, stdout: true, stderr: false, tty: true },
    } satisfies ExecTarget
    const back = await pod.open('exec', wanted, gone.signal)
    gate.note(request, session, { action: 'TERMINAL', target, status: 101, value: [container, ...asked].join(' ') })
    await joinEndpoints(front, back)
  } catch (thrown) {
    const { code, message } = toSluiceError(thrown)
    gate.note(request, session, { action: 'TERMINAL', target, status: 409, answer: `${code}: ${message}` })
    front.fail(thrown)
  }
}

/** Pipes every channel of a terminal both ways until one side ends, and tells the other how. */
async function joinEndpoints(front: StreamEndpoint, back: StreamEndpoint): Promise<void> {
  const pipe = (from: StreamEndpoint, to: StreamEndpoint, id: number) =>
    pipeline(from.channel(id), to.channel(id)).catch(() => {})
  front.ready()
  void pipe(front, back, CHANNEL.stdin)
  void pipe(front, back, CHANNEL.resize)
  const output = pipe(back, front, CHANNEL.stdout)
  void front.outcome
    .catch(() => {})
    .then(() => back.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'the terminal was closed')))
  try {
    const result = await back.outcome
    await output
    await front.done(result)
  } catch (thrown) {
    front.fail(thrown)
  }
}

function containerOf(pod: ReachablePod, asked: string | null): string {
  const name = asked ?? pod.containers[0] ?? ''
  if (pod.containers.includes(name)) return name
  throw new SluiceError('SLUICE_POD_CONTAINER', `pod ${pod.pod} has no container ${name}`, {
    hint: `It has ${pod.containers.join(', ')}.`,
  })
}

/** Refuses an upgrade on its bare connection; a browser shows no more of it than that it failed. */
function refuseUpgrade(socket: Duplex, thrown: unknown): void {
  const { code, message, hint } = toSluiceError(thrown)
  const status = code === 'SLUICE_CONSOLE_SIGNED_OUT' ? 401 : code.startsWith('SLUICE_CONSOLE_') ? 403 : 409
  const body = JSON.stringify({ code, message, ...(hint === undefined ? {} : { hint }) })
  const type = 'content-type: application/json\r\nconnection: close'
  socket.end(`HTTP/1.1 ${status} Refused\r\n${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}
