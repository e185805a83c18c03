import type { Clock } from '../../api/clock.ts'
import type { SluiceError } from '../../api/errors.ts'
import type { Device, DeviceModel } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, DEVICE_MODELS, DEVICES } from '../kube/paths.ts'
import { watchResource } from '../kube/watch.ts'
import type { Fleet } from './fleet.ts'

/** Devices wait for the models, so that nothing is called invalid only because its model is still on its way. */
export async function followFleet(
  client: KubeClient,
  fleet: Fleet,
  clock: Clock,
  signal: AbortSignal,
  trouble: (what: string, error: SluiceError) => void,
): Promise<void> {
  const models = watchResource<DeviceModel, true>(
    client,
    collectionPath(DEVICE_MODELS),
    {
      upsert: (model) => fleet.upsertModel(model),
      remove: (key) => fleet.removeModel(key),
      trouble: (error) => trouble('watch of device models', error),
    },
    { clock, signal, keep: () => true },
  )
  await models.synced
  const devices = watchResource<Device, true>(
    client,
    collectionPath(DEVICES),
    {
      upsert: (device) => fleet.upsertDevice(device, clock.now()),
      remove: (key) => fleet.removeDevice(key),
      trouble: (error) => trouble('watch of devices', error),
    },
    { clock, signal, keep: () => true },
  )
  await devices.synced
}
