import { ble } from './ble/protocol.ts'
import { lora } from './lora/protocol.ts'
import { modbus } from './modbus/protocol.ts'
import { mqtt } from './mqtt/protocol.ts'
import type { Protocol } from './sdk/mapper.ts'

/** Every protocol Sluice speaks. Importing this costs nothing: each protocol loads its parts when they are needed. */
export const protocols: readonly Protocol[] = [modbus, mqtt, ble, lora]

/** Beside the protocols: devices that a program of the user's own serves. Its words are in the frame of a Device. */
export { custom } from './custom/protocol.ts'
