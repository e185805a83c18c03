import type { Clock, Timer } from '../../../api/clock.ts'
import type { PodContainer, PodProbe } from '../../../api/link/pods.ts'
import { act, type Target, type Verdict } from './action.ts'

export interface ProbesOptions {
  readonly clock: Clock
  readonly container: PodContainer
  readonly target: Target
  readonly startedMs: number
  /** Something a status or a plan depends on has changed. */
  readonly onChange: () => void
  readonly onUnhealthy: (kind: ProbeKind, message: string) => void
}

export type ProbeKind = 'startup' | 'liveness' | 'readiness'

/**
 * The probes of one running container, with the kubelet's rules: nothing else is asked before the startup probe has
 * succeeded; liveness counts failures, readiness both ways.
 */
export class Probes implements Disposable {
  readonly #options: ProbesOptions
  readonly #stop = new AbortController()
  readonly #timers = new Set<Timer>()
  startedUp: boolean
  ready: boolean
  /** The probe that found it dead, once one did. */
  dead: { readonly kind: ProbeKind; readonly graceMs?: number } | undefined

  constructor(options: ProbesOptions) {
    this.#options = options
    const { startupProbe, readinessProbe } = options.container
    this.startedUp = startupProbe === undefined
    this.ready = readinessProbe === undefined
    if (startupProbe === undefined) this.#rest()
    else this.#run('startup', startupProbe)
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    for (const timer of this.#timers) timer.cancel()
  }

  #rest(): void {
    const { livenessProbe, readinessProbe } = this.#options.container
    if (livenessProbe !== undefined) this.#run('liveness', livenessProbe)
    if (readinessProbe !== undefined) this.#run('readiness', readinessProbe)
  }

  #run(kind: ProbeKind, probe: PodProbe): void {
    const { clock, target, startedMs } = this.#options
    const periodMs = Math.max(1, probe.periodSeconds ?? 10) * 1000
    const timeoutMs = Math.max(1, probe.timeoutSeconds ?? 1) * 1000
    let successes = 0
    let failures = 0
    const ask = async () => {
      const verdict = await act(probe, target, timeoutMs, this.#stop.signal)
      if (this.#stop.signal.aborted) return
      successes = verdict.ok ? successes + 1 : 0
      failures = verdict.ok ? 0 : failures + 1
      const settled = this.#judge(kind, probe, verdict, successes, failures)
      if (!settled) again(periodMs)
    }
    const again = (delayMs: number) => {
      const timer = clock.after(
        delayMs,
        () => {
          this.#timers.delete(timer)
          void ask()
        },
        true,
      )
      this.#timers.add(timer)
    }
    again(Math.max(0, startedMs + (probe.initialDelaySeconds ?? 0) * 1000 - clock.now()))
  }

  /** Whether nothing more is to be asked. */
  #judge(kind: ProbeKind, probe: PodProbe, { ok, message }: Verdict, successes: number, failures: number): boolean {
    const { onChange, onUnhealthy } = this.#options
    const failed = failures >= (probe.failureThreshold ?? 3)
    if (!ok) onUnhealthy(kind, message)
    if (kind === 'readiness') {
      const before = this.ready
      if (ok && successes >= (probe.successThreshold ?? 1)) this.ready = true
      else if (failed) this.ready = false
      if (this.ready !== before) onChange()
      return false
    }
    if (failed) {
      const graceS = probe.terminationGracePeriodSeconds
      this.dead = { kind, ...(graceS === undefined ? {} : { graceMs: graceS * 1000 }) }
      onChange()
      return true
    }
    if (kind === 'startup' && ok) {
      this.startedUp = true
      this.#rest()
      onChange()
      return true
    }
    return false
  }
}
