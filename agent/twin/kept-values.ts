import type { Json } from '../../api/resources.ts'
import type { Twin } from '../../api/twin/twin.ts'
import type { DeviceState } from './device-state.ts'

/** Values of properties that changed since the last call, for the store. */
export function* takeChangedValues(
  devices: Iterable<DeviceState>,
): Generator<[uid: string, name: string, known: string]> {
  for (const device of devices) {
    for (const property of device.properties.values()) {
      const { known } = property.twin
      if (!property.knownDirty || known === undefined) continue
      property.knownDirty = false
      yield [device.uid, property.name, JSON.stringify({ value: known.value, atMs: known.atMs })]
    }
  }
}

/** The twin of a kept value: what was last known, as stale until the first reading. */
export function knownTwin(stored: string): Pick<Twin, 'known' | 'reported'> {
  const { value, atMs } = JSON.parse(stored) as { value: Json; atMs: number }
  const order = { epoch: 0, seq: 0 }
  return {
    known: { value, atMs, quality: 'good', order },
    reported: { atMs, quality: 'stale', reason: 'not read since the agent started', order },
  }
}
