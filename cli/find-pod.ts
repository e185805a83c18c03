import { SluiceError } from '../api/errors.ts'
import type { KubeClient } from '../cloudcore/kube/client.ts'
import { objectPath, PODS } from '../cloudcore/kube/paths.ts'
import { intentsOfWorkload, lackedBy, withIntents } from '../cloudcore/scheduler/inherited.ts'
import { type PodView, readPod } from '../cloudcore/scheduler/pod-view.ts'

interface RawPod {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> }
}

export interface FoundPod {
  readonly pod: PodView
  readonly annotations: Readonly<Record<string, string>>
}

/** A pod by name. Throws SLUICE_KUBE_NOT_FOUND. */
export async function findPod(
  kube: KubeClient,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<FoundPod> {
  try {
    const raw = await kube.get<RawPod>(objectPath(PODS, name, namespace), { signal })
    const pod = readPod(raw)
    // One that has a place has what its workload means by it.
    const lacked = pod.node === undefined ? lackedBy(raw, await intentsOfWorkload(kube, raw, signal)) : {}
    return { pod: readPod(withIntents(raw, lacked)), annotations: raw.metadata.annotations ?? {} }
  } catch (thrown) {
    if (!(thrown instanceof SluiceError) || thrown.code !== 'SLUICE_KUBE_NOT_FOUND') throw thrown
    throw new SluiceError('SLUICE_KUBE_NOT_FOUND', `There is no pod ${namespace}/${name}`, {
      hint: 'kubectl get pods -A lists them; name its namespace with -n.',
      cause: thrown,
    })
  }
}
