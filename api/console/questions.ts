import type { Readable, Writable } from 'node:stream'
import { SluiceError, toSluiceError } from '../errors.ts'
import type { Json } from '../resources.ts'

/**
 * What only a gateway knows, asked from the cloud: one stream a gateway for as long as somebody looks. Channel 0 carries
 * questions down, channel 1 answers up, one JSON text a line.
 */
export const QUESTION_STREAM = 'questions'

export interface Question {
  readonly id: number
  /** A path of the gateway's own API without `/v1/`, with its query: `plan/default/meter-1?every=5s`. */
  readonly path: string
  readonly body?: Json
}

export type Reply =
  | { readonly id: number; readonly ok: true; readonly body: Json }
  | { readonly id: number; readonly ok: false; readonly code: string; readonly message: string; readonly hint?: string }

/** An answer that is longer is not sent: nobody could look at it. */
export const MAX_REPLY_CHARS = 2 * 1024 * 1024
const MAX_QUESTION_CHARS = 256 * 1024
/** Of one stream at a time. */
const MAX_UNANSWERED = 16

/** Lines of a channel. Throws SLUICE_STREAM_BAD_MESSAGE for one that does not end. */
export async function* linesOf(channel: Readable, maxChars: number): AsyncGenerator<string> {
  let rest = ''
  const text = new TextDecoder()
  for await (const chunk of channel as AsyncIterable<Buffer>) {
    rest += text.decode(chunk, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > maxChars) throw badLine()
    yield* lines
  }
}

/** Answers what comes until the channel ends, each when its answer is there, at most 16 at a time. */
export async function answerQuestions(
  channels: { readonly questions: Readable; readonly replies: Writable },
  ask: (path: string, body: Json | undefined) => Promise<Json>,
): Promise<void> {
  let open = 0
  const one = async ({ id, path, body }: Question) => {
    let reply: Reply
    try {
      reply = { id, ok: true, body: await ask(path, body) }
    } catch (thrown) {
      const { code, message, hint } = toSluiceError(thrown)
      reply = { id, ok: false, code, message, ...(hint === undefined ? {} : { hint }) }
    }
    let text = JSON.stringify(reply)
    if (text.length > MAX_REPLY_CHARS) {
      const message = `the answer to ${path} has more than ${MAX_REPLY_CHARS} characters`
      text = JSON.stringify({ id, ok: false, code: 'SLUICE_API_TOO_LARGE', message } satisfies Reply)
    }
    if (!channels.replies.destroyed) channels.replies.write(`${text}\n`)
    open--
  }
  for await (const line of linesOf(channels.questions, MAX_QUESTION_CHARS)) {
    const question = read(line)
    if (question === undefined || open >= MAX_UNANSWERED) throw badLine()
    open++
    void one(question)
  }
}

function read(line: string): Question | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !('id' in value) || !('path' in value)) return undefined
  const { id, path } = value
  if (!Number.isSafeInteger(id) || typeof path !== 'string') return undefined
  return { id: Number(id), path, ...('body' in value ? { body: value.body as Json } : {}) }
}

export const badLine = () =>
  new SluiceError('SLUICE_STREAM_BAD_MESSAGE', 'a stream of questions is not as it has to be', {
    hint: 'Use an agent and a cloud core of the same release.',
  })
