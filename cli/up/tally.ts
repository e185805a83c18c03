import type { StreamEvent } from '../../api/views.ts'

/** What happened since the start, counted from the event stream. */
export interface Tally {
  values: number
  good: number
  applied: number
  rejected: number
  timedOut: number
}

export const emptyTally = (): Tally => ({ values: 0, good: 0, applied: 0, rejected: 0, timedOut: 0 })

export function count(tally: Tally, events: readonly StreamEvent[]): void {
  for (const event of events) {
    if (event.kind === 'reported') {
      tally.values++
      if (event.quality === 'good') tally.good++
    } else if (event.kind === 'write') tally[event.state]++
  }
}

/** The summary that ends a run with `--json`. Times in seconds and milliseconds as named. */
export interface Summary {
  readonly ok: boolean
  readonly devices: number
  readonly online: number
  /** Reports of properties that arrived in the cloud core. */
  readonly values: number
  /** Desired values that were written to a device and read back. */
  readonly writes: number
  readonly rejected: number
  readonly timedOut: number
  /** Values the outbox had to drop. */
  readonly drops: number
  readonly restarts: number
  readonly firstValueMs: number | null
  readonly seconds: number
  readonly kubeconfig: string
  readonly data: string
}

export const perSecond = (n: number, ms: number): string => (ms <= 0 ? '0' : (n / (ms / 1000)).toFixed(1))
