import type { NoteEvent } from '../../api/views.ts'
import type { DeviceRecord } from './device-record.ts'
import type { Fleet } from './fleet.ts'

/** Tells each change of a desired value once: a value that was set, or one that nobody desires any more. */
export function tellDesired(
  fleet: Fleet,
  now: () => number,
  tell: (note: NoteEvent, gateway: string | undefined) => void,
): void {
  const told = new WeakMap<DeviceRecord, Map<string, number>>()
  fleet.listen({
    deviceChanged(record) {
      const before = told.get(record)
      const versions = new Map<string, number>()
      for (const [property, { twin }] of record.properties) {
        const { desired, removedVersion = 0 } = twin
        const version = desired?.version ?? removedVersion
        if (version === 0) continue
        versions.set(property, version)
        // What a device came with is its state, not news.
        if (before === undefined || before.get(property) === version) continue
        tell(
          {
            kind: 'desired',
            device: record.key,
            property,
            version,
            at: new Date(desired?.atMs ?? now()).toISOString(),
            ...(desired === undefined ? {} : { value: desired.value }),
            ...(desired?.by === undefined ? {} : { by: desired.by }),
          },
          record.gateway,
        )
      }
      told.set(record, versions)
    },
  })
}
