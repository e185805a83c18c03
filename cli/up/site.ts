import type { Device } from '../../api/resources.ts'
import type { SluiceResource } from '../../api/validate.ts'

/** What the demo plant says when it is ready. */
export interface PlantEndpoints {
  readonly meter: { readonly port: string; readonly baud: number }
  readonly drive: { readonly host: string; readonly port: number }
}

/** A serial line given on the command line; it replaces the one in the device files. */
export interface LineChoice {
  readonly port: string
  readonly baud?: number
}

type Binding = Readonly<Record<string, unknown>>

const isBinding = (value: unknown): value is Binding =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Devices without a place are served by this gateway; those of other gateways keep theirs. */
export function adopt(device: Device, gateway: string): Device {
  if (device.spec.nodeName !== undefined || device.spec.nodeSelector !== undefined) return device
  return { ...device, spec: { ...device.spec, nodeName: gateway } }
}

/** Replaces fields of one transport of the device's Modbus address, where the device uses that transport. */
function readdress(device: Device, transport: string, fields: Binding): Device {
  const modbus = device.spec['modbus']
  if (!isBinding(modbus) || !isBinding(modbus[transport])) return device
  return {
    ...device,
    spec: { ...device.spec, modbus: { ...modbus, [transport]: { ...modbus[transport], ...fields } } },
  }
}

/** Puts every device on a serial line onto the one the user named. */
export const onLine = (device: Device, line: LineChoice): Device =>
  readdress(device, 'rtu', { port: line.port, ...(line.baud === undefined ? {} : { baud: line.baud }) })

export const atHome = (device: Device, gateway: string): Device => ({
  ...device,
  spec: { ...device.spec, nodeName: gateway },
})

/** The demo's devices, with the endpoints the plant has this time. */
export const atPlant = (device: Device, plant: PlantEndpoints): Device =>
  readdress(readdress(device, 'rtu', { ...plant.meter }), 'tcp', { ...plant.drive })

/** Models first, so that no device is ever refused for a model that comes a moment later. */
export const inApplyOrder = (resources: readonly SluiceResource[]): SluiceResource[] => {
  const rank: Readonly<Record<string, number>> = { Gateway: 0, DeviceModel: 1, Device: 2 }
  return [...resources].sort((a, b) => (rank[a.kind] ?? 3) - (rank[b.kind] ?? 3))
}
