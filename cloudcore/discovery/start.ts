import type { Clock } from '../../api/clock.ts'
import type { SluiceError } from '../../api/errors.ts'
import type { DiscoveredDevice, DiscoveryPolicy } from '../../api/resources.ts'
import type { EventRecorder } from '../gateways/event-recorder.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, DISCOVERED_DEVICES, DISCOVERY_POLICIES } from '../kube/paths.ts'
import { watchResource } from '../kube/watch.ts'
import { DiscoveryController } from './controller.ts'
import { kubeDiscoveryObjects } from './objects.ts'

/** The controller of discoveries, following the objects of a Kubernetes API until the signal aborts. */
export function startDiscovery(
  client: KubeClient,
  events: EventRecorder,
  clock: Clock,
  signal: AbortSignal,
  onTrouble: (what: string, error: SluiceError) => void,
): DiscoveryController {
  const { promise: synced, resolve } = Promise.withResolvers<void>()
  const discovery = new DiscoveryController({
    ...{ objects: kubeDiscoveryObjects(client), clock, signal, synced, onTrouble },
    record: (note) => events.record(note),
  })
  const watch = watchResource<DiscoveredDevice, true>(
    client,
    collectionPath(DISCOVERED_DEVICES),
    {
      upsert: (object) => discovery.upsert(object),
      remove: (key) => discovery.removed(key),
      trouble: (error) => onTrouble('watch of discovered devices', error),
    },
    { clock, signal, keep: () => true },
  )
  void watch.synced.then(resolve)
  watchResource<DiscoveryPolicy, true>(
    client,
    collectionPath(DISCOVERY_POLICIES),
    {
      upsert: (object) => discovery.policy(object),
      remove: (key) => discovery.policyRemoved(key),
      trouble: (error) => onTrouble('watch of discovery policies', error),
    },
    { clock, signal, keep: () => true },
  )
  return discovery
}
