import type { Json } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { GatewayConnection } from './connection.ts'
import type { Message, NodeConfig, NodeStatus } from './red.ts'

/** How a write ended, as the flow's three outputs see it. */
export type WriteEnd = 'applied' | 'rejected' | 'timedOut'

export interface WriteResult {
  readonly end: WriteEnd
  /** As the gateway says it: synced, applied, rejected, timedOut, pending. */
  readonly state: string
  readonly reason?: string
}

const DEFAULT_WAIT_MS = 30_000
const LONGEST_WAIT_MS = 120_000

export function waitMs(config: NodeConfig): number {
  const given = typeof config['wait'] === 'string' && config['wait'] !== '' ? config['wait'] : undefined
  if (given === undefined) return DEFAULT_WAIT_MS
  return Math.min(durationMs(given), LONGEST_WAIT_MS)
}

/** What the gateway refuses by its rules (limits, access, type) is an end; what fails on the way is thrown. */
const REFUSALS = new Set([
  'SLUICE_TWIN_VALUE_REFUSED',
  'SLUICE_TWIN_READ_ONLY',
  'SLUICE_TWIN_PROPERTY_UNKNOWN',
  'SLUICE_KUBE_REFUSED',
  'SLUICE_API_BAD_REQUEST',
])

/** By its code and not by its class: the connection was made by another file, with a class of its own. */
function refusal(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' && REFUSALS.has(thrown.code) ? thrown.message : undefined
}

/** Sets a desired value and waits for its end. */
export async function writeDesired(
  connection: GatewayConnection,
  device: string,
  property: string,
  value: Json,
  options: { readonly by: string; readonly waitMs: number },
): Promise<WriteResult> {
  try {
    const { signal } = connection
    const answer = await connection.api.setDesired(device, property, value, { ...options, signal })
    const { state, reason } = answer
    const why = reason === undefined ? {} : { reason }
    if (state === 'rejected') return { end: 'rejected', state, ...why }
    if (state === 'applied' || state === 'synced') return { end: 'applied', state, ...why }
    return { end: 'timedOut', state, reason: reason ?? 'the write has not ended yet' }
  } catch (thrown) {
    const reason = refusal(thrown)
    if (reason === undefined) throw thrown
    return { end: 'rejected', state: 'rejected', reason }
  }
}

const OUTPUTS: readonly WriteEnd[] = ['applied', 'rejected', 'timedOut']

/** The message on the output of its end. */
export const onOutput = (message: Message, end: WriteEnd): (Message | null)[] =>
  OUTPUTS.map((output) => (output === end ? message : null))

const COLOURS = { applied: 'green', rejected: 'red', timedOut: 'yellow' } as const

export const endStatus = (end: WriteEnd): NodeStatus => ({
  fill: COLOURS[end],
  shape: 'dot',
  text: `status.${end}`,
})
