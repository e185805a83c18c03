import type { Device, DeviceModel } from '../../api/resources.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, EVENTS, objectPath } from '../../cloudcore/kube/paths.ts'
import type { DeviceWatch } from './devices.ts'
import type { FarSide } from './far-side.ts'

type NewDevice = Partial<Device['spec']> & Pick<Device['spec'], 'model'>

/** Models, devices and events of one namespace: what a person does with kubectl, without a process each time. */
export abstract class FleetOfTest {
  abstract readonly kube: KubeClient
  abstract readonly devices: DeviceWatch
  abstract readonly far: FarSide
  abstract readonly namespace: string
  abstract readonly gateway: string

  createModel(name: string, spec: DeviceModel['spec']): Promise<DeviceModel> {
    return this.kube.create(collectionPath(DEVICE_MODELS, this.namespace), {
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'DeviceModel',
      metadata: { name },
      spec,
    })
  }

  createDevice(name: string, spec: NewDevice): Promise<Device> {
    return this.kube.create(collectionPath(DEVICES, this.namespace), {
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'Device',
      metadata: { name },
      spec: { nodeName: this.gateway, ...spec },
    })
  }

  patchDevice(name: string, patch: object): Promise<Device> {
    return this.kube.patch<Device>(objectPath(DEVICES, name, this.namespace), 'merge', patch)
  }

  /** Reasons of the Events about an object, in any namespace. */
  async reasonsFor(name: string): Promise<string[]> {
    const { items } = await this.kube.list<{ reason: string; involvedObject: { name: string } }>(collectionPath(EVENTS))
    return items.filter(({ involvedObject }) => involvedObject.name === name).map(({ reason }) => reason)
  }

  /** A device of `counterModel` on the far side; a generous time-out, since a late answer is a lost value. */
  counterDevice(unit = 1, every = '50ms') {
    const modbus = { tcp: { host: '127.0.0.1', port: this.far.port }, unit, timeout: '10s' }
    return { model: 'counter', poll: { every }, modbus }
  }
}

/** A counter that no value comes twice from, and two numbers that can be set. */
export const counterModel: DeviceModel['spec'] = {
  properties: [
    { name: 'count', type: 'int', modbus: { input: 0, as: 'uint32' } },
    { name: 'speed', type: 'int', access: 'readwrite', min: 0, max: 60_000, modbus: { holding: 0 } },
    { name: 'ramp', type: 'int', access: 'readwrite', min: 0, max: 60_000, modbus: { holding: 10 } },
  ],
}
