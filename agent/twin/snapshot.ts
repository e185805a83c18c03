import type { BatchBody, BatchDevice, NewsRow, ReachRow, ReportRow, WriteRow } from '../../api/link/messages.ts'
import { waitReason } from '../../api/twin/twin.ts'
import type { DeviceState } from './device-state.ts'
import { batchDevice, MAX_BATCH_ROWS, newsRow, reachRow, writeRow } from './report-batcher.ts'

const MAX_PART_BYTES = 200 * 1024

/**
 * The state of every twin in parts of a bounded size. A value that was not read since this process started is left
 * out: what was last reported of it is with the hub or in the outbox, and may be newer than what the store knew.
 */
export function* snapshotParts(devices: Iterable<DeviceState>): Generator<BatchBody> {
  let part = emptyPart()
  let bytes = 0
  for (const device of devices) {
    if (device.standby) continue
    let index = part.d.push(batchDevice(device)) - 1
    if (device.reach !== undefined) part.s.push(reachRow(index, device.reach))
    for (const property of device.properties.values()) {
      const { reported, known, write, wait } = property.twin
      if (write !== undefined) part.w.push(writeRow(index, property.name, write))
      if (wait !== undefined && waitReason(property.twin) !== undefined)
        part.n.push(newsRow(index, property.name, wait))
      if (!property.fresh || reported === undefined) continue
      const { value = null, atMs, quality, reason } = reported
      part.r.push(
        reason === undefined
          ? [index, property.name, value, atMs, quality]
          : [index, property.name, value, atMs, quality, reason],
      )
      // Behind the failed reading: both have one place in the order of reports, and the first row decides the quality.
      if (known !== undefined && known !== reported)
        part.r.push([index, property.name, known.value ?? null, known.atMs])
      bytes +=
        64 +
        (typeof reported.value === 'object' || typeof reported.value === 'string'
          ? JSON.stringify(reported.value).length
          : 0)
      if (bytes < MAX_PART_BYTES && part.r.length < MAX_BATCH_ROWS) continue
      yield body(part)
      part = emptyPart()
      bytes = 0
      index = part.d.push(batchDevice(device)) - 1
    }
  }
  yield body(part)
}

const emptyPart = () => ({
  d: [] as BatchDevice[],
  r: [] as ReportRow[],
  w: [] as WriteRow[],
  s: [] as ReachRow[],
  n: [] as NewsRow[],
})

const body = (part: ReturnType<typeof emptyPart>): BatchBody => part
