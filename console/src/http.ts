import type { SessionView } from '../../api/console/gate.ts'

/** What `GET /v1/session` says to whoever is not signed in. */
export type Door = Pick<SessionView, 'kind' | 'place' | 'version'> & Partial<SessionView>

/** An error as the API tells it. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly hint: string
  constructor(status: number, code: string, message: string, hint: string) {
    super(message)
    this.status = status
    this.code = code
    this.hint = hint
  }
}

let csrf = ''
let onSignedOut: () => void = () => {}

export function setCsrf(word: string): void {
  csrf = word
}

/** The word that writes carry; a WebSocket cannot carry it in a header. */
export const csrfWord = (): string => csrf

export function whenSignedOut(act: () => void): void {
  onSignedOut = act
}

export interface CallOptions {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly body?: unknown
  readonly why?: string
  readonly signal?: AbortSignal
}

/** One call of the API. Throws ApiError; one of status 0 when nobody answers. */
export async function call<T>(path: string, options: CallOptions = {}): Promise<T> {
  const { method = 'GET', body, why, signal } = options
  const answer = await send(path, {
    method,
    headers: {
      accept: 'application/json',
      ...(method === 'GET' ? {} : { 'x-sluice-csrf': csrf }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(why === undefined || why === '' ? {} : { 'x-sluice-why': encodeURIComponent(why) }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  })
  if (!answer.ok) throw await errorOf(answer)
  return (await answer.json()) as T
}

/** A request whose answer is read by the caller. */
export async function send(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { credentials: 'same-origin', ...init })
  } catch (cause) {
    if (init.signal?.aborted === true) throw cause
    throw new ApiError(0, 'UNREACHABLE', String(cause), '')
  }
}

export async function errorOf(answer: Response): Promise<ApiError> {
  let words: { code?: string; message?: string; hint?: string } = {}
  try {
    words = (await answer.json()) as typeof words
  } catch {}
  if (answer.status === 401 && words.code !== 'SLUICE_CONSOLE_SIGN_IN') onSignedOut()
  return new ApiError(answer.status, words.code ?? '', words.message ?? `${answer.status}`, words.hint ?? '')
}
