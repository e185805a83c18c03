import { SluiceError } from '../../api/errors.ts'
import type { PodTarget } from '../../api/link/pod-streams.ts'
import type { ContainerView, PodRuntime, SandboxState } from '../pods/runtimes/runtime.ts'

/** The runtimes of this gateway that are in use. */
export type Runtimes = () => readonly PodRuntime[] | Promise<readonly PodRuntime[]>

export interface FoundPod {
  readonly runtime: PodRuntime
  /** The newest of the pod. */
  readonly sandbox: SandboxState
  /** Of all its sandboxes, by name and attempt, newest first. */
  readonly containers: readonly ContainerView[]
}

/** Asks the runtimes, which alone know. Throws SLUICE_POD_NOT_FOUND. */
export async function findPod(runtimes: Runtimes, target: PodTarget, signal: AbortSignal): Promise<FoundPod> {
  for (const runtime of await runtimes()) {
    const sandboxes = (await runtime.list(signal))
      // A mirror's uid is what somebody wrote into an annotation: the name has to be the right one, too.
      .filter((one) => one.podUid === target.uid && one.namespace === target.namespace && one.name === target.pod)
      .sort((a, b) => b.attempt - a.attempt || b.createdMs - a.createdMs)
    const [sandbox] = sandboxes
    if (sandbox === undefined) continue
    const containers = sandboxes
      .flatMap((each) => each.containers)
      .sort((a, b) => b.attempt - a.attempt || b.createdMs - a.createdMs)
    return { runtime, sandbox, containers }
  }
  const { namespace, pod } = target
  throw new SluiceError('SLUICE_POD_NOT_FOUND', `pod ${namespace}/${pod} does not run on this gateway (yet)`, {
    hint: `See how far it is: kubectl describe pod ${pod} -n ${namespace}`,
  })
}

/** The newest container of a name, or the one before. Throws SLUICE_POD_CONTAINER. */
export function containerOf(
  found: FoundPod,
  target: PodTarget & { container: string },
  previous = false,
): ContainerView {
  const named = found.containers.filter(({ name }) => name === target.container)
  const container = named[previous ? 1 : 0]
  if (container !== undefined) return container
  const { pod, container: name } = target
  throw previous && named.length > 0
    ? new SluiceError('SLUICE_POD_CONTAINER', `previous terminated container "${name}" in pod "${pod}" not found`, {
        hint: 'It was not restarted yet, or its earlier run was cleared away.',
      })
    : new SluiceError('SLUICE_POD_CONTAINER', `container ${name} is not valid for pod ${pod}, or it has not started`, {
        hint: `See how far it is: kubectl describe pod ${pod} -n ${target.namespace}`,
      })
}

export function runningContainer(found: FoundPod, target: PodTarget & { container: string }): ContainerView {
  const container = containerOf(found, target)
  if (container.state === 'running') return container
  throw new SluiceError('SLUICE_POD_CONTAINER', `container ${target.container} of pod ${target.pod} is not running`, {
    hint: `Why it ended: kubectl logs ${target.pod} -c ${target.container} -n ${target.namespace} --previous`,
  })
}
