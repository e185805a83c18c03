import { SluiceError } from '../errors.ts'
import type { Json } from '../resources.ts'

/** Kinds of streams that have to do with pods. */
export type PodStreamKind = 'logs' | 'exec' | 'attach' | 'portForward' | 'stats'

/** Which pod; the uid keeps a question about a pod that is gone from reaching its namesake. */
export interface PodTarget {
  readonly namespace: string
  readonly pod: string
  readonly uid: string
}

/** What `kubectl logs` can ask for; channel 1 carries the text. */
export interface LogsTarget extends PodTarget {
  readonly container: string
  readonly follow?: boolean
  readonly timestamps?: boolean
  /** The container before the present one. */
  readonly previous?: boolean
  readonly tailLines?: number
  readonly limitBytes?: number
  /** Only what was written from this moment on, milliseconds since 1970. */
  readonly sinceMs?: number
}

/** Channels as in `CHANNEL`; channel 4 carries `{"Width":..,"Height":..}` one after another. The result is `CommandEnd`. */
export interface AttachTarget extends PodTarget {
  readonly container: string
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
  readonly tty: boolean
}

export interface ExecTarget extends AttachTarget {
  readonly command: readonly string[]
}

/** Undefined after an attachment that was let go. */
export interface CommandEnd {
  readonly exitCode?: number
}

/** Channel 1 up, channel 0 down: one connection to a port of the pod. */
export interface PortTarget extends PodTarget {
  readonly port: number
}

/** The result of `stats`. Times are milliseconds since 1970. */
export interface GatewayStats {
  readonly atMs: number
  readonly node: UseNow
  readonly pods: readonly PodUse[]
}

/** `cpuCores` is the average since the reading before; absent until there were two. */
export interface UseNow {
  readonly cpuS: number
  readonly cpuCores?: number
  readonly memoryBytes: number
  readonly startedMs?: number
}

export interface PodUse extends UseNow {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly containers: readonly (UseNow & { readonly name: string })[]
}

const MAX_COMMAND_WORDS = 4096

export function readLogsTarget(target: Json): LogsTarget {
  const fields = podFields(target)
  const { container, follow, timestamps, previous, tailLines, limitBytes, sinceMs } = fields
  need(isText(container, 253), 'container')
  need(
    [follow, timestamps, previous].every((each) => each === undefined || typeof each === 'boolean'),
    'follow',
  )
  need(
    [tailLines, limitBytes, sinceMs].every((each) => each === undefined || isCount(each)),
    'tailLines',
  )
  const checked: unknown = fields
  return checked as LogsTarget
}

export function readAttachTarget(target: Json): AttachTarget {
  const fields = podFields(target)
  need(isText(fields['container'], 253), 'container')
  need(
    ['stdin', 'stdout', 'stderr', 'tty'].every((name) => typeof fields[name] === 'boolean'),
    'stdin',
  )
  const checked: unknown = fields
  return checked as AttachTarget
}

export function readExecTarget(target: Json): ExecTarget {
  const attach = readAttachTarget(target)
  const { command } = attach as AttachTarget & { command?: unknown }
  need(Array.isArray(command) && command.length > 0 && command.length <= MAX_COMMAND_WORDS, 'command')
  need(command.every((word) => typeof word === 'string') && command[0] !== '', 'command')
  return attach as ExecTarget
}

export function readPortTarget(target: Json): PortTarget {
  const fields = podFields(target)
  need(isCount(fields['port']) && fields['port'] > 0 && fields['port'] < 65_536, 'port')
  const checked: unknown = fields
  return checked as PortTarget
}

/** Reads what a gateway says of its use. Throws SLUICE_STREAM_BAD_MESSAGE. */
export function readStats(result: Json): GatewayStats {
  const told: unknown = result
  need(isRecord(told) && isCount(told['atMs']) && isUse(told['node']) && Array.isArray(told['pods']), 'stats')
  for (const pod of told['pods']) {
    need(isUse(pod) && isText(pod['namespace'], 253) && isText(pod['name'], 253) && isText(pod['uid'], 128), 'stats')
    need(Array.isArray(pod['containers']), 'stats')
    need(
      pod['containers'].every((each) => isUse(each) && isText(each['name'], 253)),
      'stats',
    )
  }
  const checked: unknown = told
  return checked as GatewayStats
}

function podFields(target: Json): PodTarget & Record<string, unknown> {
  const fields: unknown = target
  need(isRecord(fields), 'target')
  const { namespace, pod, uid } = fields
  need(isText(namespace, 253) && isText(pod, 253) && isText(uid, 128), 'pod')
  return { ...fields, namespace, pod, uid }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= maxLength

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

const isFigure = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value) && value >= 0

const isUse = (value: unknown): value is Record<string, unknown> =>
  isRecord(value) &&
  isFigure(value['cpuS']) &&
  isFigure(value['memoryBytes']) &&
  (value['cpuCores'] === undefined || isFigure(value['cpuCores'])) &&
  (value['startedMs'] === undefined || isFigure(value['startedMs']))

function need(condition: boolean, field: string): asserts condition {
  if (condition) return
  throw new SluiceError('SLUICE_STREAM_BAD_MESSAGE', `what a stream was asked for is not as it has to be: ${field}`, {
    hint: 'Use an agent and a cloud core of the same release.',
  })
}
