import type { Clock, Timer } from '../../api/clock.ts'
import { Heap } from './heap.ts'

/** One turn of a periodic task. */
export interface Beat {
  /** Turns since the task was added, skipped ones counted: turn n is due at the n-th multiple of the period. */
  readonly index: number
  /** Turns that had to be left out before this one because the link was too busy. */
  readonly skipped: number
}

export interface PeriodicTask {
  readonly everyMs: number
  /** Does one turn, including whatever has to happen when it fails; a rejection is a programming error. */
  run(beat: Beat): Promise<void>
}

export interface ScheduledTask {
  /** No further turns. One that is running ends in its own time. */
  cancel(): void
}

/** `write` goes before every read. `read` takes its place among the periodic tasks by `withinMs`. */
export type Lane = 'write' | 'read'

export interface SchedulerOptions {
  readonly clock: Clock
  /** How many may be under way at once; asked again every time. */
  readonly concurrency: () => number
  /** Share of a period, 0 to 1, by which every turn is moved: links that differ in it do not all wake at once. Default 0. */
  readonly phase?: number
  readonly onError: (error: unknown) => void
}

interface Periodic {
  readonly kind: 'periodic'
  readonly task: PeriodicTask
  readonly originMs: number
  index: number
  dueMs: number
  deadlineMs: number
  order: number
  cancelled: boolean
}

interface Once {
  readonly kind: 'once'
  readonly deadlineMs: number
  readonly order: number
  cancelled: boolean
  start(): Promise<void>
}

type Job = Periodic | Once

/** Turns of equal tasks are spread by the golden ratio: however many there are, they never bunch. */
const SPREAD = 0.618033988749895
/** Timers count whole milliseconds; what is due within one is due. */
const TIMER_GRAIN_MS = 1
const DEFAULT_WITHIN_MS = 1000
const MAX_DEADLINE_MS = 1000

/**
 * Shares one link between everybody who wants to use it.
 *
 * Reads are periodic and go by earliest deadline, a turn's deadline being the next one's due time, or a second after its
 * own where the period is longer. So on a link with time to spare everybody is served in time, and on an overloaded one
 * nobody starves: slow tasks take little and wait a second or so, fast ones share what is left evenly. Due times are
 * multiples of the period from a fixed origin (no drift); turns that are missed are skipped and counted, never made up
 * for.
 */
export class LinkScheduler {
  readonly #clock: Clock
  readonly #concurrency: () => number
  readonly #phase: number
  readonly #onError: (error: unknown) => void
  readonly #waiting = new Heap<Periodic>((a, b) => a.dueMs < b.dueMs)
  readonly #ready = new Heap<Job>(
    (a, b) => a.deadlineMs - b.deadlineMs < 0 || (a.deadlineMs === b.deadlineMs && a.order < b.order),
  )
  #writes: Once[] = []
  #order = 0
  #added = 0
  #inFlight = 0
  #paused = false
  #disposed = false
  #timer: Timer | undefined
  #timerAtMs = Number.POSITIVE_INFINITY
  #turns = 0
  #skipped = 0

  constructor(options: SchedulerOptions) {
    this.#clock = options.clock
    this.#concurrency = options.concurrency
    this.#phase = options.phase ?? 0
    this.#onError = options.onError
  }

  /** Turns taken and turns left out since the start. */
  get turns(): { readonly taken: number; readonly skipped: number } {
    return { taken: this.#turns, skipped: this.#skipped }
  }

  /** Adds a periodic task. Its first turn is due at once, the others at staggered multiples of its period. */
  every(task: PeriodicTask): ScheduledTask {
    this.#added++
    const lead = ((this.#added * SPREAD + this.#phase) % 1) * task.everyMs
    const nowMs = this.#clock.monotonic()
    const entry: Periodic = {
      kind: 'periodic',
      task,
      originMs: nowMs - lead,
      index: 0,
      dueMs: nowMs,
      deadlineMs: nowMs + Math.min(task.everyMs - lead, MAX_DEADLINE_MS),
      order: 0,
      cancelled: false,
    }
    this.#waiting.push(entry)
    this.#pump()
    return {
      cancel: () => {
        entry.cancelled = true
      },
    }
  }

  /** Runs `run` once, in its turn. Rejects as `run` does, or with the signal's reason when it aborts before the start. */
  once<T>(lane: Lane, run: () => Promise<T>, signal?: AbortSignal, withinMs = DEFAULT_WITHIN_MS): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const onAbort = () => {
        job.cancelled = true
        reject(signal?.reason)
      }
      const job: Once = {
        kind: 'once',
        deadlineMs: this.#clock.monotonic() + withinMs,
        order: ++this.#order,
        cancelled: false,
        start: async () => {
          signal?.removeEventListener('abort', onAbort)
          try {
            resolve(await run())
          } catch (error) {
            reject(error)
          }
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      if (lane === 'write') this.#writes.push(job)
      else this.#ready.push(job)
      this.#pump()
    })
  }

  /** Nothing new starts until `resume`; the link is down. */
  pause(): void {
    this.#paused = true
    this.#disarm()
  }

  resume(): void {
    this.#paused = false
    this.#pump()
  }

  /** Ends everything that has not started; `once` jobs that wait never settle, so abort their signals first. */
  dispose(): void {
    this.#disposed = true
    this.#disarm()
  }

  #pump(): void {
    if (this.#paused || this.#disposed) return
    const nowMs = this.#clock.monotonic()
    this.#wake(nowMs)
    while (this.#inFlight < Math.max(1, this.#concurrency())) {
      const job = this.#next()
      if (job === undefined) break
      this.#start(job, nowMs)
    }
    this.#arm(nowMs)
  }

  #wake(nowMs: number): void {
    for (;;) {
      const first = this.#waiting.peek()
      if (first === undefined || (first.dueMs > nowMs + TIMER_GRAIN_MS && !first.cancelled)) return
      this.#waiting.pop()
      if (first.cancelled) continue
      first.order = ++this.#order
      this.#ready.push(first)
    }
  }

  #next(): Job | undefined {
    for (;;) {
      const job = this.#writes.shift() ?? this.#ready.pop()
      if (job === undefined || !job.cancelled) return job
    }
  }

  #start(job: Job, nowMs: number): void {
    this.#inFlight++
    const done = () => {
      this.#inFlight--
      if (job.kind === 'periodic' && !job.cancelled) this.#again(job)
      this.#pump()
    }
    const failed = (error: unknown) => {
      this.#onError(error)
      done()
    }
    if (job.kind === 'once') {
      job.start().then(done, failed)
      return
    }
    const { everyMs } = job.task
    const index = Math.max(job.index, Math.floor((nowMs - job.originMs) / everyMs))
    const skipped = index - job.index
    job.index = index
    this.#turns++
    this.#skipped += skipped
    job.task.run({ index, skipped }).then(done, failed)
  }

  #again(job: Periodic): void {
    const { everyMs } = job.task
    job.index++
    job.dueMs = job.originMs + job.index * everyMs
    job.deadlineMs = job.dueMs + Math.min(everyMs, MAX_DEADLINE_MS)
    this.#waiting.push(job)
  }

  #arm(nowMs: number): void {
    const first = this.#waiting.peek()
    if (this.#timer !== undefined && first !== undefined && this.#timerAtMs === first.dueMs) return
    this.#disarm()
    if (first === undefined) return
    this.#timerAtMs = first.dueMs
    this.#timer = this.#clock.after(Math.max(0, first.dueMs - nowMs), () => {
      this.#timer = undefined
      this.#pump()
    })
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
