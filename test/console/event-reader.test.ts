import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { readEvents } from '../../console/src/event-reader.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

it('a server that froze is noticed within seconds, although it closes nothing, and is asked again', async () => {
  let say: (text: string) => void = () => {}
  const asked: (string | null)[] = []
  vi.stubGlobal('fetch', (_: string, { headers, signal }: { headers: Record<string, string>; signal: AbortSignal }) => {
    asked.push(new Headers(headers).get('last-event-id'))
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        say = (text) => controller.enqueue(new TextEncoder().encode(text))
        signal.addEventListener('abort', () => controller.error(signal.reason))
      },
    })
    return Promise.resolve(new Response(body))
  })
  const over = new AbortController()
  const heard: string[] = []
  const reading = readEvents({
    query: '',
    signal: over.signal,
    onOpen: () => heard.push('open'),
    onEvents: () => heard.push('events'),
    onLost: () => heard.push('lost'),
  })
  await vi.advanceTimersByTimeAsync(1)
  say('id: 7\nevent: open\ndata: {}\n\n')
  // What the server says when it has nothing to say.
  for (let round = 0; round < 5; round++) {
    await vi.advanceTimersByTimeAsync(3_000)
    say(':\n\n')
  }
  await vi.advanceTimersByTimeAsync(1)
  expect(heard).toEqual(['open'])
  await vi.advanceTimersByTimeAsync(9_000)
  expect(heard).toEqual(['open', 'lost'])
  expect(asked).toEqual([null, '7'])
  over.abort()
  await reading
})
