import type { IncomingMessage, ServerResponse } from 'node:http'
import { stringify as toYaml } from 'yaml'
import type { JsonObject } from '../objects.ts'
import type { Caller } from '../registry/kind.ts'
import type { Wanted } from './accept.ts'
import { ApiStatusError, internalError } from './status.ts'

/** One request and the way to answer it. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly caller: Caller
}

export function sendText(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': Buffer.byteLength(text) })
  response.end(text)
}

/** Sends JSON that is already text; `wanted` turns it into YAML where that was asked for. */
export function sendJson(
  response: ServerResponse,
  code: number,
  json: string,
  wanted?: Wanted,
  contentType = 'application/json',
): void {
  if (wanted?.type === 'application/yaml') {
    const text = toYaml(JSON.parse(json))
    response.writeHead(code, { 'Content-Type': 'application/yaml', 'Content-Length': Buffer.byteLength(text) })
    response.end(text)
    return
  }
  response.writeHead(code, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(json),
    'Cache-Control': 'no-cache, private',
  })
  response.end(json)
}

export function sendObject(response: ServerResponse, code: number, object: JsonObject, wanted?: Wanted): void {
  sendJson(response, code, JSON.stringify(object), wanted)
}

/** Answers any failure as a Status; what is not a refusal of ours is a 500 without its inner workings. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const status =
    error instanceof ApiStatusError
      ? error
      : error instanceof RangeError
        ? internalError('the request is too complex')
        : internalError(reason(error))
  if (status.httpCode === 413 || status.httpCode === 401) response.setHeader('Connection', 'close')
  const retry = status.details?.retryAfterSeconds
  if (retry !== undefined) response.setHeader('Retry-After', String(retry))
  sendObject(response, status.httpCode, status.toStatus())
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 500) : 'unknown'
}

/** Resolves when a response that is full can take more, or has been closed by the other side. */
export function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      response.off('drain', settle)
      response.off('close', settle)
      resolve()
    }
    if (response.destroyed) return resolve()
    response.on('drain', settle)
    response.on('close', settle)
  })
}

/** Warning headers (RFC 7234, code 299) as kubectl prints them; at most a handful, each bounded. */
export function addWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return
  const texts = warnings.slice(0, 20).map((text) =>
    text
      .slice(0, 256)
      .replace(/[\\"]/g, '\\$&')
      .replace(/[^\x20-\x7e]/g, '?'),
  )
  response.setHeader(
    'Warning',
    texts.map((text) => `299 - "${text}"`),
  )
}
