import { IMPORTANCE_ANNOTATION } from '../../api/intents/intents.ts'
import type { LinkPod } from '../../api/link/pods.ts'
import type { PolicyStage } from '../../api/schema/policy.ts'

/** What a stage pauses, and why: `stage saver (on battery)`. */
export interface PodPause {
  readonly importance: readonly ('deferrable' | 'normal')[]
  readonly why: string
}

export type PodImportance = 'critical' | 'normal' | 'deferrable'

/** What a pod says of itself; one that says nothing, or a word that nobody knows, is left alone. */
export function podImportance({ metadata }: Pick<LinkPod, 'metadata'>): PodImportance | undefined {
  const said = metadata.annotations?.[IMPORTANCE_ANNOTATION]
  return said === 'critical' || said === 'normal' || said === 'deferrable' ? said : undefined
}

/** Whether a stage has a pod stand still. Only pods that say their importance: others never asked to be put off. */
export function pausesPod(pod: Pick<LinkPod, 'metadata'>, stage: Pick<PolicyStage, 'pause'> | undefined): boolean {
  const importance = podImportance(pod)
  return importance !== undefined && importance !== 'critical' && stage?.pause?.includes(importance) === true
}
