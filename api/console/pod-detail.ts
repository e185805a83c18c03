import type { PodStatus } from '../link/pods.ts'
import type { ContainerCard, PodDetail } from './work.ts'

export interface PodFields {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly leaving: boolean
  readonly containers: readonly { readonly name: string; readonly image: string }[]
  /** The same in the Kubernetes API and at the gateway that runs it; absent until somebody told of it. */
  readonly status: Partial<PodStatus> | undefined
}

/** A pod with its containers in the order of its spec, also those that nobody told of yet. */
export function podDetail({ namespace, name, uid, leaving, containers, status }: PodFields): PodDetail {
  const message = status?.message ?? status?.reason
  return {
    ...{ namespace, name, uid, leaving, phase: status?.phase ?? 'Pending' },
    ...(message === undefined ? {} : { message }),
    ...(status?.startTime === undefined ? {} : { startedAt: status.startTime }),
    containers: containers.map((container) => containerCard(container, status)),
  }
}

function containerCard(
  { name, image }: { readonly name: string; readonly image: string },
  status: Partial<PodStatus> | undefined,
): ContainerCard {
  const told = status?.containerStatuses?.find((each) => each.name === name)
  const { running, terminated, waiting } = told?.state ?? {}
  const reason = terminated?.reason ?? waiting?.reason
  const message = terminated?.message ?? waiting?.message
  const state = running ? 'running' : terminated ? 'terminated' : waiting ? 'waiting' : 'unknown'
  return {
    ...{ name, image, state, ready: told?.ready === true, restarts: told?.restartCount ?? 0 },
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  }
}
