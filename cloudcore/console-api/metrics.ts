import { Exposition } from '../../api/metrics/exposition.ts'
import type { Hub } from '../hub/hub.ts'
import type { MqttPublisher } from '../hub/mqtt-publisher.ts'
import type { HubStore } from '../hub/store.ts'
import type { StreamHub } from '../hub/stream.ts'
import type { Fleet } from '../twins/fleet.ts'
import type { TwinEngine } from '../twins/twin-engine.ts'

export interface MetricsSources {
  readonly hub: Hub
  readonly store: HubStore
  readonly stream: StreamHub
  readonly fleet: Fleet
  readonly twins: TwinEngine
  readonly mqtt: () => MqttPublisher | undefined
}

/** The page at `/metrics`: the cloud core itself. What gateways tell is summed here; each of them is on a page of its own. */
export function renderMetrics(sources: MetricsSources): string {
  const { hub, store, stream, fleet, twins } = sources
  const sums = { batches: 0, duplicates: 0, gaps: 0, lostValues: 0, unexplained: 0, refusedRows: 0, fencedRows: 0 }
  for (const counters of store.allCounters().values()) {
    sums.batches += counters.batches
    sums.duplicates += counters.duplicates
    sums.gaps += counters.gaps
    sums.lostValues += counters.lostValues
    sums.unexplained += counters.unexplained
    sums.refusedRows += counters.refusedRows
    sums.fencedRows += counters.fencedRows
  }
  let objectsBehind = 0
  for (const session of hub.sessions()) objectsBehind += session.behind
  const mqtt = sources.mqtt()
  return new Exposition()
    .gauge('sluice_hub_links', 'Gateways that are connected.', hub.connected)
    .counter('sluice_hub_batches_total', 'Batches received.', sums.batches)
    .counter('sluice_hub_duplicate_batches_total', 'Batches that were here already.', sums.duplicates)
    .counter('sluice_hub_gaps_total', 'Gaps told by gateways.', sums.gaps)
    .counter('sluice_hub_lost_values_total', 'Values that gateways said they dropped.', sums.lostValues)
    .counter('sluice_hub_unexplained_batches_total', 'Batches that never came.', sums.unexplained)
    .counter('sluice_hub_refused_rows_total', 'Rows for devices of somebody else.', sums.refusedRows)
    .counter(
      'sluice_hub_fenced_rows_total',
      'Rows of a gateway that no longer serves the device, known from the one that does.',
      sums.fencedRows,
    )
    .gauge('sluice_hub_objects_behind', 'Objects that gateways have not acknowledged.', objectsBehind)
    .gauge('sluice_hub_commit_queue', 'Batches waiting to become durable.', store.pendingCount)
    .gauge('sluice_stream_bytes', 'Size of the stream log.', store.streamBytes)
    .counter('sluice_stream_trimmed_rows_total', 'Rows trimmed from the stream log.', store.trimmedRows)
    .gauge('sluice_stream_subscribers', 'Subscribers of the stream.', stream.subscribers)
    .gauge('sluice_devices', 'Devices known.', fleet.devices.size)
    .gauge('sluice_device_models', 'Device models known.', fleet.models.size)
    .gauge('sluice_device_status_behind', 'Devices whose status in the API is behind.', twins.behind)
    .counter('sluice_mqtt_published_total', 'Messages published to the MQTT broker.', mqtt?.published ?? 0)
    .counter('sluice_mqtt_dropped_total', 'Messages that could not be published.', mqtt?.dropped ?? 0)
    .gauge('process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss())
    .toString()
}
