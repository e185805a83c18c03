import type { ObjectKey } from '../../../api/resources.ts'
import type { ContainerNotes } from '../plan.ts'
import type { Probes } from './probes.ts'

/** What is remembered of a pod between one look and the next; all of it can be learnt again. */
export interface Known {
  readonly key: ObjectKey
  readonly uid: string
  readonly sinceMs: number
  /** Names with something going on; the plan is not asked about them meanwhile. */
  readonly busy: Set<string>
  readonly notes: Map<string, ContainerNotes>
  readonly waiting: Map<string, { reason: string; message?: string }>
  readonly probes: Map<string, Probes>
  /** Undefined until it was said once: an agent before may have left it frozen. */
  frozen: boolean | undefined
  /** The stage of the policy that froze it; undefined where the tether did. */
  pausedBy?: string | undefined
  over: boolean
}
