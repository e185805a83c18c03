import type { StreamEvent } from '../../api/views.ts'
import { ApiError, errorOf, send } from './http.ts'

export interface EventReaderOptions {
  /** Of `/v1/events`. */
  readonly query: string
  /** The server sends what happens from here on: the state may be read now. */
  readonly onOpen: () => void
  readonly onEvents: (events: readonly StreamEvent[]) => void
  readonly onLost: () => void
  readonly signal: AbortSignal
}

/** The server says something every 3 s; after this it counts as gone, though nothing has closed the connection. */
const SILENCE_MS = 8_000
const RETRY_MS = [250, 500, 1_000, 2_000, 4_000]

/** Reads the event stream for as long as the signal lets it, and resumes after each cut where it was. */
export async function readEvents(options: EventReaderOptions): Promise<void> {
  const { signal } = options
  const reader = { cursor: undefined as string | undefined }
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      await readOnce(options, reader, () => {
        attempt = 0
      })
    } catch (thrown) {
      if (signal.aborted) return
      if (thrown instanceof ApiError && thrown.status === 401) return
      // A cursor the server cannot read is of another life of it.
      if (thrown instanceof ApiError && thrown.status === 400) reader.cursor = undefined
    }
    if (signal.aborted) return
    options.onLost()
    await pause(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]!, signal)
  }
}

async function readOnce(
  options: EventReaderOptions,
  reader: { cursor: string | undefined },
  opened: () => void,
): Promise<void> {
  const over = new AbortController()
  const signal = AbortSignal.any([options.signal, over.signal])
  let silence = setTimeout(() => over.abort(), SILENCE_MS)
  try {
    const headers = reader.cursor === undefined ? {} : { 'last-event-id': reader.cursor }
    const answer = await send(`/v1/events${options.query}`, { headers, signal })
    if (!answer.ok || answer.body === null) throw await errorOf(answer)
    const text = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (;;) {
      const { value, done } = await text.read()
      if (done) return
      clearTimeout(silence)
      silence = setTimeout(() => over.abort(), SILENCE_MS)
      rest += value
      const blocks = rest.split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const { id, type, data } = fieldsOf(block)
        if (id !== undefined) reader.cursor = id
        if (type === undefined && data !== '') options.onEvents(JSON.parse(data) as StreamEvent[])
        else if (type === 'open') {
          opened()
          options.onOpen()
        }
      }
    }
  } finally {
    clearTimeout(silence)
    over.abort()
  }
}

function fieldsOf(block: string): { id: string | undefined; type: string | undefined; data: string } {
  let id: string | undefined
  let type: string | undefined
  let data = ''
  for (const line of block.split('\n')) {
    if (line.startsWith('data:')) data += line.slice(5).trimStart()
    else if (line.startsWith('id:')) id = line.slice(3).trim()
    else if (line.startsWith('event:')) type = line.slice(6).trim()
  }
  return { id, type, data }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
