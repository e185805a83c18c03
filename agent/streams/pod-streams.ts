import { pipeline } from 'node:stream/promises'
import { SluiceError } from '../../api/errors.ts'
import {
  type AttachTarget,
  type CommandEnd,
  type PodStreamKind,
  readAttachTarget,
  readExecTarget,
  readLogsTarget,
  readPortTarget,
} from '../../api/link/pod-streams.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import type { Json } from '../../api/resources.ts'
import type { ExecSession } from '../pods/runtimes/runtime.ts'
import type { StreamCall, StreamHandler } from './host.ts'
import { readLog } from './log-reader.ts'
import { containerOf, findPod, type Runtimes, runningContainer } from './pod-lookup.ts'
import { PodStats } from './pod-stats.ts'
import { WindowSizes } from './window-sizes.ts'

/** After a command ended, what it started may still hold its output open: it is cut off after this, as a kubelet does. */
const LAST_OUTPUT_MS = 10_000

/** Serves the streams of pods: `logs`, `exec`, `attach`, `portForward`, `stats`. */
export function podStreams(runtimes: Runtimes): (kind: string) => StreamHandler | undefined {
  const stats = new PodStats(runtimes)
  const handlers: Readonly<Record<PodStreamKind, StreamHandler>> = {
    logs: (call) => logs(runtimes, call),
    exec: (call) => exec(runtimes, call),
    attach: (call) => attach(runtimes, call),
    portForward: (call) => portForward(runtimes, call),
    stats: (call) => {
      call.ready()
      return stats.read()
    },
  }
  return (kind) => (Object.hasOwn(handlers, kind) ? handlers[kind as PodStreamKind] : undefined)
}

async function logs(runtimes: Runtimes, { target, endpoint, ready, signal }: StreamCall): Promise<Json> {
  const wanted = readLogsTarget(target)
  const found = await findPod(runtimes, wanted, signal)
  const container = containerOf(found, wanted, wanted.previous)
  ready()
  const running = async () => {
    const now = await findPod(runtimes, wanted, signal).catch(() => undefined)
    return now?.containers.find(({ id }) => id === container.id)?.state === 'running'
  }
  const wake = (listener: () => void) => found.runtime.onChange(listener)
  await pipeline(readLog(container.logPath, wanted, { running, wake }, signal), endpoint.channel(CHANNEL.stdout))
  return {}
}

async function exec(runtimes: Runtimes, call: StreamCall): Promise<Json> {
  const wanted = readExecTarget(call.target)
  const found = await findPod(runtimes, wanted, call.signal)
  const { id } = runningContainer(found, wanted)
  const { command, stdin, tty } = wanted
  return run(call, wanted, (size) =>
    found.runtime.exec(id, { command, stdin, tty, ...(size === undefined ? {} : { size }) }, call.signal),
  )
}

async function attach(runtimes: Runtimes, call: StreamCall): Promise<Json> {
  const wanted = readAttachTarget(call.target)
  const found = await findPod(runtimes, wanted, call.signal)
  const { id } = runningContainer(found, wanted)
  const { stdin, tty } = wanted
  return run(call, wanted, () => found.runtime.attach(id, { stdin, tty }, call.signal))
}

async function run(
  call: StreamCall,
  wanted: AttachTarget,
  start: (size: { columns: number; rows: number } | undefined) => Promise<ExecSession>,
): Promise<Json> {
  const { endpoint, ready, signal } = call
  await using session = await start(undefined)
  const sizes = new WindowSizes((size) => session.resize(size))
  if (wanted.tty) endpoint.channel(CHANNEL.resize).on('data', (data: Buffer) => sizes.take(data))
  ready()
  const { stdin, stdout, stderr } = session
  // A command that does not read its input to the end is no failure of the stream.
  if (stdin !== undefined) void pipeline(endpoint.channel(CHANNEL.stdin), stdin).catch(() => {})
  const outputs = [pipeline(stdout, endpoint.channel(CHANNEL.stdout))]
  if (stderr !== undefined) outputs.push(pipeline(stderr, endpoint.channel(CHANNEL.stderr)))
  const drained = Promise.allSettled(outputs)
  const gone = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  gone.catch(() => {})
  const exitCode = await Promise.race([session.exited, gone])
  const cut = setTimeout(() => {
    stdout.destroy()
    stderr?.destroy()
  }, LAST_OUTPUT_MS)
  await Promise.race([drained, gone]).finally(() => clearTimeout(cut))
  const end: CommandEnd = exitCode === undefined ? {} : { exitCode }
  return { ...end }
}

async function portForward(runtimes: Runtimes, { target, endpoint, ready, signal }: StreamCall): Promise<Json> {
  const wanted = readPortTarget(target)
  const found = await findPod(runtimes, wanted, signal)
  if (!found.sandbox.ready) {
    throw new SluiceError('SLUICE_POD_CONTAINER', `pod ${wanted.namespace}/${wanted.pod} is not running`)
  }
  const connection = await found.runtime.portForward(found.sandbox.id, wanted.port, signal)
  connection.on('error', () => {})
  ready()
  const channel = endpoint.channel(CHANNEL.stdin)
  try {
    await Promise.all([pipeline(channel, connection), pipeline(connection, channel)])
  } finally {
    connection.destroy()
  }
  return {}
}
