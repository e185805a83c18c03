import { SluiceError } from '../../api/errors.ts'
import type { HelloFrame } from '../../api/link/messages.ts'
import type { KubeClient } from '../kube/client.ts'
import { NAMESPACES, objectPath } from '../kube/paths.ts'

/** Name of a cluster that no other has and that outlives everything in it (the k8s.cluster.uid of OpenTelemetry). */
export async function supernodeId(client: KubeClient): Promise<string> {
  const { metadata } = await client.get<{ metadata: { uid: string } }>(objectPath(NAMESPACES, 'kube-system'))
  return metadata.uid
}

/**
 * Refuses a supernode that has this one beneath it: pods would go round in a circle for ever. Whoever closes a circle hears
 * itself named, wherever it is closed, because everybody names everybody beneath.
 */
export function needNoLoop(own: string, gateway: string, { machine }: Pick<HelloFrame, 'machine'>): void {
  if (machine?.supernodes?.includes(own) !== true) return
  const path = machine.supernodes.map((id) => id.slice(0, 8)).join(' > ')
  throw new SluiceError('SLUICE_LINK_LOOP', `the supernode '${gateway}' has this one beneath it: ${path}`, {
    hint: 'Take away one of the uplinks that make the circle: a supernode has one above it, and never itself.',
  })
}
