/** What a host application says of itself, Sparkplug B 3.0, section 6.4.27: retained, and the will of its connection. */
export interface HostState {
  readonly online: boolean
  /** When the host's session began, milliseconds since 1970; a will has the time of the birth it belongs to. */
  readonly timestampMs: number
}

const MAX_BYTES = 1024

/** `spBv1.0/STATE/{host}`. */
export const stateTopic = (host: string): string => `spBv1.0/STATE/${host}`

export const encodeState = ({ online, timestampMs }: HostState): Uint8Array =>
  Buffer.from(JSON.stringify({ online, timestamp: Math.trunc(timestampMs) }))

/** Undefined for anything that is no state. */
export function decodeState(bytes: Uint8Array): HostState | undefined {
  if (bytes.length > MAX_BYTES) return undefined
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString())
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !('online' in value) || !('timestamp' in value)) return undefined
  const { online, timestamp } = value
  if (typeof online !== 'boolean' || typeof timestamp !== 'number' || !Number.isSafeInteger(timestamp)) return undefined
  return { online, timestampMs: timestamp }
}
