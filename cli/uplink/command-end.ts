import type { Readable } from 'node:stream'
import { SluiceError } from '../../api/errors.ts'
import type { CommandEnd } from '../../api/link/pod-streams.ts'

const MOST_CHARS = 64 * 1024

/** Everything a stream says; of more than 64 KiB the beginning. */
export async function readSome(stream: Readable): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (text.length < MOST_CHARS) text += decoder.decode(chunk, { stream: true })
  }
  return text.slice(0, MOST_CHARS)
}

/** Reads the Status that ends a command over `v4.channel.k8s.io`. Throws SLUICE_UPLINK_STREAM for one that never ran. */
export function commandEnd(status: string): CommandEnd {
  const told = parsed(status)
  if (told?.status === 'Success') return { exitCode: 0 }
  const cause = told?.details?.causes?.find(({ reason }) => reason === 'ExitCode')
  const exitCode = Number(cause?.message)
  if (told?.reason === 'NonZeroExitCode' && Number.isInteger(exitCode)) return { exitCode }
  const message = told?.message || 'the supernode beneath did not say how the command ended'
  throw new SluiceError('SLUICE_UPLINK_STREAM', message.slice(0, 4096))
}

interface Status {
  readonly status?: string
  readonly reason?: string
  readonly message?: string
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message?: string }[] }
}

function parsed(text: string): Status | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(value)) return undefined
  const { status, reason, message, details } = value
  const causes = isRecord(details) && Array.isArray(details['causes']) ? details['causes'].filter(isRecord) : []
  return {
    ...words({ status, reason, message }),
    details: { causes: causes.map(({ reason: why, message: what }) => words({ reason: why, message: what })) },
  }
}

const words = (values: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
