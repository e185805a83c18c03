import type { Duplex } from 'node:stream'
import { type Clock, delay } from '../../../api/clock.ts'
import { toSluiceError } from '../../../api/errors.ts'
import type { PodContainer, ProbeAction } from '../../../api/link/pods.ts'
import type { PodRuntime } from '../runtimes/runtime.ts'

/** Where a probe or a hook is to act. */
export interface Target {
  readonly runtime: PodRuntime
  readonly clock: Clock
  readonly container: PodContainer
  readonly containerId: string
  readonly sandboxId: string
  /** Connects to a port of the pod, or of `host`. */
  readonly connect: (port: number, host: string | undefined, signal: AbortSignal) => Promise<Duplex>
}

export interface Verdict {
  readonly ok: boolean
  readonly message: string
}

const MAX_MESSAGE = 1024
const MAX_ANSWER_BYTES = 64 * 1024

/** Does what a probe or a hook says, within `timeoutMs`; never throws. */
export async function act(
  action: ProbeAction,
  target: Target,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  const stop = new AbortController()
  const timer = target.clock.after(
    timeoutMs,
    () => stop.abort(new Error(`no answer within ${timeoutMs / 1000} s`)),
    true,
  )
  try {
    return await perform(action, target, AbortSignal.any([signal, stop.signal]))
  } catch (thrown) {
    return { ok: false, message: toSluiceError(thrown).message.slice(0, MAX_MESSAGE) }
  } finally {
    timer.cancel()
    stop.abort()
  }
}

function perform(action: ProbeAction, target: Target, signal: AbortSignal): Promise<Verdict> {
  if (action.exec !== undefined) return command(action.exec.command ?? [], target, signal)
  if (action.httpGet !== undefined) return http(action.httpGet, target, signal)
  if (action.tcpSocket !== undefined) return tcp(action.tcpSocket, target, signal)
  if (action.grpc !== undefined) return grpc(action.grpc, target, signal)
  if (action.sleep !== undefined) {
    return delay(target.clock, action.sleep.seconds * 1000, signal).then(() => ({ ok: true, message: '' }))
  }
  return Promise.resolve({ ok: true, message: '' })
}

async function command(
  argv: readonly string[],
  { runtime, containerId }: Target,
  signal: AbortSignal,
): Promise<Verdict> {
  await using session = await runtime.exec(containerId, { command: argv, stdin: false, tty: false }, signal)
  let said = ''
  const take = (chunk: Buffer) => {
    if (said.length < MAX_MESSAGE) said += chunk.toString('utf8')
  }
  session.stdout.on('data', take)
  session.stderr?.on('data', take)
  const code = await aborted(session.exited, signal)
  return { ok: code === 0, message: code === 0 ? '' : `exit code ${code}: ${said.slice(0, MAX_MESSAGE)}` }
}

async function tcp(
  { port, host }: NonNullable<ProbeAction['tcpSocket']>,
  target: Target,
  signal: AbortSignal,
): Promise<Verdict> {
  const socket = await target.connect(portOf(port, target.container), host, signal)
  socket.destroy()
  return { ok: true, message: '' }
}

async function http(
  { path = '/', port, host, scheme, httpHeaders = [] }: NonNullable<ProbeAction['httpGet']>,
  target: Target,
  signal: AbortSignal,
): Promise<Verdict> {
  const number = portOf(port, target.container)
  const plain = await target.connect(number, host, signal)
  const { request } = await import('node:http')
  let socket = plain
  if (scheme === 'HTTPS') {
    const { connect } = await import('node:tls')
    // As the kubelet does: a probe asks whether the program answers, not who it is.
    socket = connect({ socket: plain, rejectUnauthorized: false })
  }
  try {
    return await new Promise<Verdict>((resolve, reject) => {
      const named = httpHeaders.map(({ name, value }) => [name, value] as const)
      const headers = Object.fromEntries([
        ['host', host ?? `localhost:${number}`],
        ['user-agent', 'kube-probe/1.32'],
        ...named,
      ])
      const asked = request({ path, method: 'GET', headers, createConnection: () => socket, signal }, (answer) => {
        const code = answer.statusCode ?? 0
        let bytes = 0
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > MAX_ANSWER_BYTES) answer.destroy()
        })
        answer.on('error', () => {})
        resolve({ ok: code >= 200 && code < 400, message: `HTTP probe failed with statuscode: ${code}` })
      })
      asked.on('error', reject)
      asked.end()
    })
  } finally {
    socket.destroy()
    plain.destroy()
  }
}

/** grpc.health.v1.Health/Check, which is small enough to be written by hand. */
async function grpc(
  { port, service = '' }: NonNullable<ProbeAction['grpc']>,
  target: Target,
  signal: AbortSignal,
): Promise<Verdict> {
  const { connect } = await import('node:http2')
  const socket = await target.connect(port, undefined, signal)
  const session = connect(`http://localhost:${port}`, { createConnection: () => socket })
  try {
    return await new Promise<Verdict>((resolve, reject) => {
      session.on('error', reject)
      const stream = session.request({
        ':method': 'POST',
        ':path': '/grpc.health.v1.Health/Check',
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      const parts: Buffer[] = []
      let status = ''
      stream.on('data', (chunk: Buffer) => parts.push(chunk))
      const see = (headers: Record<string, unknown>) => {
        if (headers['grpc-status'] !== undefined) status = String(headers['grpc-status'])
      }
      stream.on('response', see)
      stream.on('trailers', see)
      stream.on('error', reject)
      stream.on('end', () => {
        const serving = servingStatus(Buffer.concat(parts))
        const ok = status === '0' && serving === 1
        resolve({ ok, message: ok ? '' : `service unhealthy (gRPC status ${status}, serving status ${serving})` })
      })
      const name = Buffer.from(service).subarray(0, 120)
      const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name])
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([prefix, message]))
    })
  } finally {
    session.destroy()
    socket.destroy()
  }
}

/** Field 1 of HealthCheckResponse; 1 is SERVING. */
function servingStatus(frame: Buffer): number {
  const message = frame.subarray(5)
  return message[0] === 0x08 ? (message[1] ?? 0) : 0
}

/** A port by number, or by the name the container gives it. */
export function portOf(port: number | string, container: PodContainer): number {
  const named = typeof port === 'string' ? container.ports?.find(({ name }) => name === port)?.containerPort : undefined
  return named ?? Number(port)
}

function aborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
