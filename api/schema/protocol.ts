import type { TSchema } from 'typebox'

/**
 * What a protocol adds to the resources: three schemas under the protocol's own key. `api/` knows the frame of a model
 * and never the inside of a binding; each protocol's `schema.ts` provides one of these.
 */
export interface ProtocolSchema {
  /** The key in YAML, for example `modbus`. */
  readonly name: string
  /** `DeviceModel.spec.properties[].<name>`: where the property lives on the device. */
  readonly property: TSchema
  /** `Device.spec.<name>`: how to reach this one device. */
  readonly address: TSchema
  /** `DeviceModel.spec.<name>`: what holds for every device of the model (limits, word order, quirks). */
  readonly model?: TSchema
}
