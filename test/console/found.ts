import { join } from 'node:path'
import { API_VERSION, type Device, type DiscoveredDevice } from '../../api/resources.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, DEVICES, DISCOVERED_DEVICES, objectPath } from '../../cloudcore/kube/paths.ts'
import type { House } from './house.ts'

/** Objects as gw-1 has them made for what it sees: a drive that answers as the known one does, and somebody's tag. */
export async function tellFound(house: House): Promise<void> {
  await using kube = new KubeClient(loadKubeconfig(join(house.data, 'kubeconfig')))
  const { spec } = await kube.get<Device>(objectPath(DEVICES, 'drive-1', 'default'))
  const seen: Record<string, DiscoveredDevice['spec']> = {
    'gw-1-modbus-drive': {
      ...{
        protocol: 'modbus',
        id: 'unit-7',
        gateway: 'gw-1',
        name: 'Drive',
        address: spec['modbus'] as DiscoveredDevice['spec']['address'],
      },
      candidates: [{ model: spec.model, score: 0.9, why: 'it identifies itself as one' }],
    },
    'gw-1-ble-tag': {
      protocol: 'ble',
      id: 'a4:c1:38:00:00:01',
      gateway: 'gw-1',
      address: { mac: 'a4:c1:38:00:00:01' },
    },
  }
  for (const [name, spec] of Object.entries(seen)) {
    await kube.create<DiscoveredDevice>(collectionPath(DISCOVERED_DEVICES, 'default'), {
      ...{ apiVersion: API_VERSION, kind: 'DiscoveredDevice', metadata: { name } },
      spec,
    })
    const rssiDbm = spec.protocol === 'ble' ? { rssiDbm: -71 } : {}
    await kube.patch<DiscoveredDevice>(objectPath(DISCOVERED_DEVICES, name, 'default', 'status'), 'merge', {
      status: { state: 'new', lastSeen: new Date().toISOString(), sightings: 3, ...rssiDbm },
    })
  }
}
