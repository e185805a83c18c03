import { SluiceError } from '../../api/errors.ts'
import type { DeviceView, TwinView } from '../../api/views.ts'
import type { GatewayConnection } from './connection.ts'
import type { Message, NodeConfig } from './red.ts'
import { fullKey } from './twin-filter.ts'

const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')

export interface Target {
  readonly device: string
  readonly property: string
}

/**
 * Which twin a message is about: what the node says, else `msg.twin` (as these nodes send it), else `msg.topic` as
 * `device/property` or `namespace/device/property`.
 */
export function targetOf(config: NodeConfig, message: Message): Target {
  const twin = typeof message['twin'] === 'object' && message['twin'] !== null ? message['twin'] : {}
  const said = twin as { readonly device?: unknown; readonly namespace?: unknown; readonly property?: unknown }
  const parts = text(message.topic)
    .split('/')
    .filter((part) => part !== '')
  const ofTopic =
    parts.length === 3
      ? { device: `${parts[0]}/${parts[1]}`, property: parts[2]! }
      : { device: parts[0] ?? '', property: parts[1] ?? '' }
  const namespace = text(said.namespace)
  const ofTwin = text(said.device) === '' || namespace === '' ? text(said.device) : `${namespace}/${text(said.device)}`
  return {
    device: fullKey(text(config['device']) || ofTwin || ofTopic.device),
    property: text(config['property']) || text(said.property) || ofTopic.property,
  }
}

/** Throws SLUICE_NODERED_NOT_CONNECTED and says why. */
export function connectedOrThrow({ state }: GatewayConnection): void {
  if (state.is === 'connected') return
  const why = state.is === 'lost' ? `: ${state.reason}` : ''
  throw new SluiceError('SLUICE_NODERED_NOT_CONNECTED', `the gateway is not connected${why}`, {
    hint: 'The message can be sent again when the node shows a filled dot.',
  })
}

/** Throws SLUICE_NODERED_NO_DEVICE with what to do. */
export function deviceOf(connection: GatewayConnection, { device }: Pick<Target, 'device'>): DeviceView {
  connectedOrThrow(connection)
  const view = connection.devices.get(device)
  if (view !== undefined) return view
  throw new SluiceError(
    'SLUICE_NODERED_NO_DEVICE',
    device === '' ? 'neither the node nor the message names a device' : `there is no device ${device}`,
    { hint: 'Pick one in the node, or give msg.topic as device/property.' },
  )
}

/** Throws SLUICE_NODERED_NO_PROPERTY with the names there are. */
export function twinOfTarget(view: DeviceView, property: string): TwinView {
  const twin = view.twins.find(({ name }) => name === property)
  if (twin !== undefined) return twin
  const names = view.twins.map(({ name }) => name).join(', ')
  throw new SluiceError(
    'SLUICE_NODERED_NO_PROPERTY',
    property === ''
      ? 'neither the node nor the message names a property'
      : `${view.name} has no property '${property}'`,
    { hint: `It has: ${names}.` },
  )
}
