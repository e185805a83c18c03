import type { IncomingMessage, ServerResponse } from 'node:http'
import { tellAnswer } from '../../api/console/answers.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'

const STATUS: Readonly<Record<string, number>> = {
  SLUICE_API_NOT_FOUND: 404,
  SLUICE_API_METHOD: 405,
  SLUICE_API_TOO_LARGE: 413,
  SLUICE_API_BAD_REQUEST: 400,
  SLUICE_API_UNAUTHENTICATED: 401,
  SLUICE_API_FORBIDDEN: 403,
  SLUICE_INVALID_DURATION: 400,
  SLUICE_JOIN_BAD_REQUEST: 400,
  SLUICE_JOIN_BAD_NAME: 400,
  SLUICE_JOIN_BAD_TTL: 400,
  SLUICE_JOIN_CSR_REFUSED: 400,
  SLUICE_JOIN_TOKEN_MALFORMED: 400,
  SLUICE_JOIN_TOO_MANY: 429,
  SLUICE_KUBE_NOT_FOUND: 404,
  SLUICE_KUBE_CONFLICT: 409,
  SLUICE_KUBE_REFUSED: 422,
  SLUICE_KUBE_FORBIDDEN: 403,
  SLUICE_KUBE_UNAVAILABLE: 503,
  SLUICE_KUBE_UNREACHABLE: 503,
  SLUICE_HUB_NOT_READY: 503,
  SLUICE_CONSOLE_SIGNED_OUT: 401,
  SLUICE_CONSOLE_SIGN_IN: 401,
  SLUICE_CONSOLE_CSRF: 403,
  SLUICE_CONSOLE_ROLE: 403,
  SLUICE_CONSOLE_TOO_MANY: 429,
  SLUICE_CONSOLE_NOT_BUILT: 503,
  SLUICE_OFFLOAD_REFUSED: 409,
  SLUICE_POD_CONTAINER: 404,
  SLUICE_POD_NOT_FOUND: 404,
  SLUICE_STREAM_KIND: 501,
  SLUICE_STREAM_NO_LINK: 503,
  SLUICE_STREAM_TIMEOUT: 504,
  SLUICE_STREAM_TOO_MANY: 429,
  SLUICE_STREAM_UNSUPPORTED: 501,
  SLUICE_TRIAL_REFUSED: 409,
  SLUICE_TWIN_DEVICE_UNKNOWN: 404,
}

export function httpStatusOf(code: string): number {
  return STATUS[code] ?? (code.startsWith('SLUICE_JOIN_') ? 403 : 500)
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  tellAnswer(response, status, body)
  if (response.headersSent) return void response.destroy()
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  })
  response.end(text)
}

export function sendError(response: ServerResponse, thrown: unknown): void {
  const { code, message, hint } = toSluiceError(thrown)
  sendJson(response, httpStatusOf(code), { code, message, ...(hint === undefined ? {} : { hint }) })
}

/** Reads a JSON body of at most `maxBytes`. Throws SLUICE_API_TOO_LARGE or SLUICE_API_BAD_REQUEST. */
export async function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  // What is too large is answered, and its rest thrown away: the connection goes on.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) break
    chunks.push(chunk)
  }
  if (bytes > maxBytes) {
    request.resume()
    throw new SluiceError('SLUICE_API_TOO_LARGE', `the body is larger than ${maxBytes} bytes`)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
  } catch (cause) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', 'the body is not JSON', { cause })
  }
}
