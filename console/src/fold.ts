import type { DeviceView, StreamEvent, TwinView } from '../../api/views.ts'

/** The device as it is after something happened; the same object when that does not concern it. */
export function foldEvent(device: DeviceView, event: StreamEvent): DeviceView {
  if (event.kind === 'gateway') return device
  if (event.kind === 'reach') {
    const { reason: _reason, staleSince: _stale, ...rest } = device
    const why = event.reason === undefined ? {} : { reason: event.reason }
    return event.online
      ? { ...rest, state: 'online', lastSeen: event.at }
      : { ...rest, state: 'offline', staleSince: event.at, ...why }
  }
  const index = device.twins.findIndex(({ name }) => name === event.property)
  const before = device.twins[index]
  if (before === undefined) return device
  const after = foldTwin(before, event)
  if (after === before) return device
  const heard = event.kind === 'reported' && event.backfill !== true && !event.quality.startsWith('bad(')
  return { ...device, ...(heard ? { lastSeen: event.at } : {}), twins: device.twins.with(index, after) }
}

type TwinEvent = Exclude<StreamEvent, { kind: 'gateway' } | { kind: 'reach' }>

function foldTwin(twin: TwinView, event: TwinEvent): TwinView {
  if (event.kind === 'reported') {
    // History that arrives late does not replace what is newer.
    if (event.backfill === true && twin.at !== undefined && twin.at >= event.at) return twin
    const { reason: _reason, ...rest } = twin
    const why = event.reason === undefined ? {} : { reason: event.reason }
    // A failed reading says nothing of the value: the last known one stays, with its own time.
    if (event.quality.startsWith('bad(')) return { ...rest, quality: event.quality, ...why }
    return settled({ ...rest, value: event.value, at: event.at, quality: event.quality, ...why })
  }
  if (event.kind === 'write') {
    if (twin.desired !== undefined && event.version < twin.desired.version) return twin
    const { stateReason: _reason, ...rest } = twin
    return settled({
      ...rest,
      state: event.state,
      ...(event.reason === undefined ? {} : { stateReason: event.reason }),
    })
  }
  if (twin.desired !== undefined && event.version < twin.desired.version) return twin
  const { desired: _desired, state: _state, stateReason: _reason, ...rest } = twin
  if (event.value === undefined) return rest
  const { value, version, at, by } = event
  // Told again after its end: what is known of the end stays. Values set at a gateway share the version they are based on.
  if (twin.desired?.version === version && JSON.stringify(twin.desired.value) === JSON.stringify(value)) return twin
  return { ...rest, desired: { value, version, at, ...(by === undefined ? {} : { by }) }, state: 'pending' }
}

/** Once a write was applied, whether the newest reading still agrees with it. */
function settled(twin: TwinView): TwinView {
  if (twin.desired === undefined || (twin.state !== 'applied' && twin.state !== 'synced')) return twin
  const agrees = JSON.stringify(twin.value) === JSON.stringify(twin.desired.value)
  return { ...twin, state: agrees ? 'synced' : 'applied' }
}
