import { DeviceApi } from '../../api/client/device-api.ts'
import type { Endpoint } from '../../api/client/http.ts'
import { delay, systemClock } from '../../api/clock.ts'
import type { StreamEvent } from '../../api/views.ts'
import { until } from './until.ts'

export type Reported = Extract<StreamEvent, { kind: 'reported' }>
export type WriteEvent = Extract<StreamEvent, { kind: 'write' }>

/** A subscriber that comes back after the last row it saw, however often the other side goes away. */
export interface StreamReader extends AsyncDisposable {
  readonly events: readonly StreamEvent[]
  /** How often the stream said that rows were lost. */
  readonly missed: number
  until(accept: (event: StreamEvent) => boolean, what: string, timeoutMs?: number): Promise<StreamEvent>
}

/** `after` undefined begins now; '0' begins with the oldest row there is. */
export function readStream(
  endpoint: () => Endpoint,
  filter: { device?: string; property?: string; kind?: string } = {},
  after?: string,
): StreamReader {
  const stop = new AbortController()
  const events: StreamEvent[] = []
  const listeners = new Set<(event: StreamEvent) => void>()
  let cursor = after
  let missed = 0
  const run = async () => {
    while (!stop.signal.aborted) {
      try {
        for await (const batch of new DeviceApi(endpoint()).events(filter, stop.signal, cursor)) {
          // Reading from the very beginning always begins with "the oldest are gone".
          if (batch.missed && cursor !== '0') missed++
          cursor = batch.id ?? cursor
          for (const event of batch.events) {
            events.push(event)
            for (const listener of [...listeners]) listener(event)
          }
        }
      } catch {
        // The other side is away; the next attempt goes on after the cursor.
      }
      await delay(systemClock, 50, stop.signal).catch(() => {})
    }
  }
  const running = run()
  return {
    events,
    get missed() {
      return missed
    },
    until(accept, what, timeoutMs = 30_000) {
      const found = events.find(accept)
      if (found !== undefined) return Promise.resolve(found)
      const subscribe = (push: (event: StreamEvent) => void) => {
        listeners.add(push)
        return () => void listeners.delete(push)
      }
      return until(subscribe, accept, what, timeoutMs)
    },
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('read enough'))
      await running
    },
  }
}

export const isReported = (event: StreamEvent): event is Reported => event.kind === 'reported'
export const isWrite = (event: StreamEvent): event is WriteEvent => event.kind === 'write'
