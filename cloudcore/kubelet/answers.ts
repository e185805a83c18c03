import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'

const STATUS: Readonly<Record<string, number>> = {
  SLUICE_KUBELET_UNAUTHENTICATED: 401,
  SLUICE_KUBELET_FORBIDDEN: 403,
  SLUICE_KUBELET_REQUEST: 400,
  SLUICE_KUBELET_PROTOCOL: 400,
  SLUICE_KUBELET_METHOD: 405,
  SLUICE_KUBELET_PATH: 404,
  SLUICE_POD_NOT_FOUND: 404,
  SLUICE_POD_CONTAINER: 400,
  SLUICE_STREAM_TOO_MANY: 429,
  SLUICE_STREAM_NO_LINK: 503,
  SLUICE_STREAM_UNSUPPORTED: 501,
  SLUICE_STREAM_KIND: 501,
  SLUICE_STREAM_TIMEOUT: 504,
}

export const statusOf = ({ code }: SluiceError): number => STATUS[code] ?? 500

/** A kubelet's answers are text, and so are its refusals. */
export function textOf({ message, hint }: SluiceError): string {
  return `${message}${hint === undefined ? '' : ` (${hint})`}\n`
}

export function refuse(response: ServerResponse, thrown: unknown): void {
  const error = toSluiceError(thrown)
  if (response.headersSent) {
    response.destroy()
    return
  }
  const text = textOf(error)
  response.writeHead(statusOf(error), {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** Refuses an upgrade on its bare connection. */
export function refuseUpgrade(socket: Duplex, thrown: unknown): void {
  const error = toSluiceError(thrown)
  const text = textOf(error)
  const head = `HTTP/1.1 ${statusOf(error)} Refused\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n`
  socket.end(head + text)
}
