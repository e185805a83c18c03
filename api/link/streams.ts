import type { Json } from '../resources.ts'

/**
 * Streams are reverse-dialled: the hub sends `dial` over the link, the agent opens one more WebSocket to
 * `STREAM_PATH + id` with its client certificate and the secret of that one dial, and both pipe bytes. docs/streams.md
 * says it in full.
 *
 *     binary message: channel (one byte), then data
 *     text message:   one of `StreamControl` as JSON
 */
export const STREAM_VERSION = 1
export const STREAM_PATH = '/stream/'
export const STREAM_SUBPROTOCOL = 'sluice.stream.v1'
/** Header in which the agent shows the secret: in a URL it would end up in logs of proxies. */
export const STREAM_SECRET_HEADER = 'sluice-stream-secret'
/** Data of one message at most; longer writes are cut. */
export const MAX_STREAM_CHUNK_BYTES = 64 * 1024
/** A message larger than this is refused by both sides. */
export const MAX_STREAM_MESSAGE_BYTES = MAX_STREAM_CHUNK_BYTES + 1
export const MAX_STREAM_CONTROL_CHARS = 16 * 1024
export const MAX_CHANNEL = 15

/** Channels of a running command; the numbers are those of `channel.k8s.io`. */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, resize: 4 } as const

/** The hub asks for a stream. */
export interface DialFrame {
  readonly t: 'dial'
  readonly id: string
  readonly secret: string
  /** What is asked for: `logs`, `exec`, `attach`, `portForward`, `stats`, and what others add. */
  readonly kind: string
  /** What the kind needs to know; its handler checks it. */
  readonly target: Json
  /** The stream has to be open after this. */
  readonly withinMs: number
}

/** The agent will not open it. What goes wrong later is said in the stream. */
export interface DialRefusedFrame {
  readonly t: 'dialRefused'
  readonly id: string
  readonly code: string
  readonly message: string
  readonly hint?: string
}

export interface StreamFailure {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

export type StreamControl =
  /** From the agent: what was asked for is there and runs; before this it may still fail. */
  | { readonly c: 'open' }
  /** The sender will send no more data on this channel; the other direction is not touched. */
  | { readonly c: 'end'; readonly channel: number }
  /** The sender does not want more data of this channel; what comes is thrown away. */
  | { readonly c: 'stop'; readonly channel: number }
  /** It went well and is over; `result` is the kind's. All channels have ended. */
  | { readonly c: 'done'; readonly result: Json }
  | ({ readonly c: 'failed' } & StreamFailure)

export type StreamMessage = { readonly c: 'data'; readonly channel: number; readonly data: Uint8Array } | StreamControl

/** `[channel, data]` as one message. */
export function encodeData(channel: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(data.length + 1)
  message[0] = channel
  message.set(data, 1)
  return message
}

export const encodeControl = (control: StreamControl): string => JSON.stringify(control)

/** Reads a message; undefined for one that breaks a rule. Never throws. */
export function decodeMessage(message: Uint8Array | string): StreamMessage | undefined {
  if (typeof message !== 'string') {
    const channel = message[0]
    if (channel === undefined || channel > MAX_CHANNEL || message.length > MAX_STREAM_MESSAGE_BYTES) return undefined
    return { c: 'data', channel, data: message.subarray(1) }
  }
  if (message.length > MAX_STREAM_CONTROL_CHARS) return undefined
  let control: unknown
  try {
    control = JSON.parse(message)
  } catch {
    return undefined
  }
  return isControl(control) ? control : undefined
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= maxLength

function isControl(value: unknown): value is StreamControl {
  if (!isRecord(value)) return false
  switch (value['c']) {
    case 'open':
      return true
    case 'end':
    case 'stop':
      return (
        Number.isInteger(value['channel']) && Number(value['channel']) >= 0 && Number(value['channel']) <= MAX_CHANNEL
      )
    case 'done':
      return value['result'] !== undefined
    case 'failed':
      return isFailure(value)
    default:
      return false
  }
}

export const isFailure = (value: Readonly<Record<string, unknown>>): boolean =>
  isSluiceCode(value['code']) &&
  isText(value['message'], 4096) &&
  (value['hint'] === undefined || isText(value['hint'], 1024))

export const isDial = (frame: Readonly<Record<string, unknown>>): boolean =>
  isStreamId(frame['id']) &&
  isText(frame['secret'], 128) &&
  isText(frame['kind'], 63) &&
  frame['target'] !== undefined &&
  Number.isSafeInteger(frame['withinMs']) &&
  Number(frame['withinMs']) > 0

export const isDialRefused = (frame: Readonly<Record<string, unknown>>): boolean =>
  isStreamId(frame['id']) && isFailure(frame)

/** Names of streams go into paths. */
export const isStreamId = (value: unknown): value is string =>
  typeof value === 'string' && /^[A-Za-z0-9_-]{8,64}$/.test(value)

const isSluiceCode = (value: unknown): value is string =>
  typeof value === 'string' && /^SLUICE_[A-Z0-9_]{1,120}$/.test(value)
