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

/** Figures of the cloud core in Prometheus' text format. Counters of gateways are summed: one series a gateway would be 10 000. */
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
  const lines: string[] = []
  const put = (name: string, type: 'gauge' | 'counter', help: string, value: number) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`)
  }
  put('sluice_hub_links', 'gauge', 'Gateways that are connected.', hub.connected)
  put('sluice_hub_batches_total', 'counter', 'Batches received.', sums.batches)
  put('sluice_hub_duplicate_batches_total', 'counter', 'Batches that were here already.', sums.duplicates)
  put('sluice_hub_gaps_total', 'counter', 'Gaps told by gateways.', sums.gaps)
  put('sluice_hub_lost_values_total', 'counter', 'Values that gateways said they dropped.', sums.lostValues)
  put('sluice_hub_unexplained_batches_total', 'counter', 'Batches that never came.', sums.unexplained)
  put('sluice_hub_refused_rows_total', 'counter', 'Rows for devices of somebody else.', sums.refusedRows)
  const fenced = 'Rows of a gateway that no longer serves the device, known from the one that does.'
  put('sluice_hub_fenced_rows_total', 'counter', fenced, sums.fencedRows)
  put('sluice_hub_objects_behind', 'gauge', 'Objects that gateways have not acknowledged.', objectsBehind)
  put('sluice_hub_commit_queue', 'gauge', 'Batches waiting to become durable.', store.pendingCount)
  put('sluice_stream_bytes', 'gauge', 'Size of the stream log.', store.streamBytes)
  put('sluice_stream_trimmed_rows_total', 'counter', 'Rows trimmed from the stream log.', store.trimmedRows)
  put('sluice_stream_subscribers', 'gauge', 'Subscribers of the stream.', stream.subscribers)
  put('sluice_devices', 'gauge', 'Devices known.', fleet.devices.size)
  put('sluice_device_models', 'gauge', 'Device models known.', fleet.models.size)
  put('sluice_device_status_behind', 'gauge', 'Devices whose status in the API is behind.', twins.behind)
  put('sluice_mqtt_published_total', 'counter', 'Messages published to the MQTT broker.', mqtt?.published ?? 0)
  put('sluice_mqtt_dropped_total', 'counter', 'Messages that could not be published.', mqtt?.dropped ?? 0)
  put('process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss())
  return `${lines.join('\n')}\n`
}
