import type { LinkObject } from '../../api/link/messages.ts'
import type { DeviceModelSpec, DeviceSpec } from '../../api/resources.ts'

export const PROTOCOLS = ['modbus', 'mqtt', 'ble', 'lora'] as const

export interface Wires {
  /** Port of a Modbus TCP server on loopback. */
  readonly modbusPort: number
  /** A free UDP port for the LoRaWAN forwarder's messages. */
  readonly loraPort: number
  /** The pty of a Bluetooth controller. */
  readonly adapter: string
}

/** One device of each protocol named, for an agent that starts from a file. */
export function oneDeviceEach(names: readonly (typeof PROTOCOLS)[number][], wires: Wires): LinkObject[] {
  const known: Readonly<Record<(typeof PROTOCOLS)[number], readonly [DeviceModelSpec, Partial<DeviceSpec>]>> = {
    modbus: [
      { properties: [{ name: 'value', type: 'int', modbus: { holding: 0 } }] },
      { modbus: { tcp: { host: '127.0.0.1', port: wires.modbusPort }, unit: 1 }, poll: { every: '10s' } },
    ],
    mqtt: [
      { properties: [{ name: 'value', type: 'float', mqtt: { topic: '{base}/value' } }] },
      { mqtt: { base: 'b' } },
    ],
    ble: [
      { properties: [{ name: 'value', type: 'float', ble: { advert: 'bthome', field: 'temperature' } }] },
      { ble: { mac: 'A4:C1:38:00:00:00', adapter: wires.adapter } },
    ],
    lora: [
      { properties: [{ name: 'value', type: 'int', lora: { port: 2, at: 0, as: 'uint8' } }] },
      {
        lora: {
          ...{ devEui: '0000000000000001', server: 'local', region: 'EU868', devAddr: '26011BDA' },
          nwkSKey: '44024241ED4CE9A68C6A8BC055233FD3',
          appSKey: 'EC925802AE430CA77FD3DD73CB2CC588',
          listen: { host: '127.0.0.1', udp: wires.loraPort },
        },
      },
    ],
  }
  return names.flatMap((name): LinkObject[] => {
    const [model, device] = known[name]
    const spec: DeviceSpec = { model: name, ...device }
    return [
      { kind: 'DeviceModel', key: `bench/${name}`, rev: '1', object: { uid: `m-${name}`, generation: 1, spec: model } },
      { kind: 'Device', key: `bench/${name}`, rev: '1', object: { uid: name, generation: 1, spec, desired: {} } },
    ]
  })
}
