import type { Clock } from '../../api/clock.ts'
import { Exposition } from '../../api/metrics/exposition.ts'
import type { BrokerStats } from '../broker/gateway-broker.ts'
import type { AgentCore } from '../core.ts'
import type { LinkStatus } from '../link/status.ts'
import { deviceState } from '../twin/views.ts'
import { addVitals, type VitalMetrics } from './vitals-page.ts'

export interface MetricsOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly version: string
  readonly gateway: string
  readonly startedMonotonicMs: number
  readonly link: () => LinkStatus | undefined
  readonly subscribers: () => number
  /** The MQTT broker, while it runs. */
  readonly broker?: () => BrokerStats | undefined
  readonly vitals?: () => VitalMetrics
}

/** The page at `/metrics`. Units are in the names: seconds, bytes, ratios from 0 to 1. */
export function metricsPage(options: MetricsOptions): string {
  const { core, clock } = options
  const { engine, store } = core
  const { totals, oldestAtMs } = store
  const links = core.mappers.links()
  const states = new Map<string, number>()
  for (const device of engine.devices.values()) {
    const state = deviceState(device)
    states.set(state, (states.get(state) ?? 0) + 1)
  }
  const page = new Exposition()
    .gauge('sluice_build_info', 'Version of the agent.', [[{ version: options.version, gateway: options.gateway }, 1]])
    .gauge(
      'sluice_uptime_seconds',
      'Time since the agent started.',
      (clock.monotonic() - options.startedMonotonicMs) / 1000,
    )
    .gauge('process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss())
    .counter('process_cpu_seconds_total', 'CPU time of the process.', cpuSeconds())
    .gauge(
      'sluice_devices',
      'Devices by state.',
      [...states].map(([state, n]) => [{ state }, n] as const),
    )
    .counter('sluice_readings_total', 'Readings taken from the mappers.', engine.counters.readings)
    .counter('sluice_reports_total', 'Readings worth reporting.', engine.counters.reports)
    .counter(
      'sluice_unknown_readings_total',
      'Readings of unknown devices or properties, dropped.',
      engine.counters.unknownReadings,
    )
    .counter(
      'sluice_write_ends_total',
      'Desired values by how they ended.',
      Object.entries(engine.counters.ends).map(([state, n]) => [{ state }, n] as const),
    )
    .histogram('sluice_write_duration_seconds', 'From accepting a desired value to its end.', core.writeLatency, 0.001)
    .gauge('sluice_outbox_batches', 'Batches waiting for the hub.', totals.batches)
    .gauge('sluice_outbox_values', 'Values waiting for the hub.', totals.values)
    .gauge('sluice_outbox_bytes', 'Bytes waiting for the hub.', totals.bytes)
    .gauge(
      'sluice_outbox_oldest_age_seconds',
      'Age of the oldest batch.',
      oldestAtMs === undefined ? 0 : (clock.now() - oldestAtMs) / 1000,
    )
    .counter(
      'sluice_outbox_dropped_values_total',
      'Values dropped because the outbox or the disk was full.',
      totals.droppedValues + core.batcher.lostValues,
    )
    .gauge('sluice_store_healthy', '1 while the store takes writes.', store.failure === undefined ? 1 : 0)
    .gauge('sluice_local_api_subscribers', 'Open event streams.', options.subscribers())
    .gauge(
      'sluice_device_link_use_ratio',
      'Share of time a device link was busy with useful traffic.',
      links.map((link) => [labelsOf(link), link.use] as const),
    )
    .gauge(
      'sluice_device_link_up',
      '1 while a device link is up.',
      links.map((link) => [labelsOf(link), link.state === 'down' ? 0 : 1] as const),
    )
    .gauge(
      'sluice_plan_efficiency_ratio',
      'Bus time of the ideal read plan by that of the plan in force.',
      links.map((link) => [labelsOf(link), link.planEfficiency] as const),
    )
    .counter(
      'sluice_requests_total',
      'Requests sent to devices.',
      links.map((link) => [labelsOf(link), link.requests] as const),
    )
    .counter(
      'sluice_properties_read_total',
      'Properties read from devices.',
      links.map((link) => [labelsOf(link), link.propertiesRead] as const),
    )
    .counter(
      'sluice_read_errors_total',
      'Failed requests by kind.',
      links.flatMap((link) =>
        Object.entries(link.errors).map(([kind, n]) => [{ ...labelsOf(link), kind }, n] as const),
      ),
    )
  if (options.vitals !== undefined) addVitals(page, options.vitals())
  addBroker(page, options.broker?.())
  const link = options.link()
  if (link === undefined) return page.toString()
  return page
    .gauge('sluice_link_up', '1 while the link to the hub is up.', link.connected ? 1 : 0)
    .gauge('sluice_link_round_trip_seconds', 'Newest round trip to the hub.', (link.roundTripMs ?? 0) / 1000)
    .gauge('sluice_link_jitter_seconds', 'Smoothed variation of the round trip.', link.jitterMs / 1000)
    .counter('sluice_link_reconnects_total', 'Connections made after the first.', link.reconnects)
    .counter('sluice_link_sent_values_total', 'Values sent, repetitions included.', link.sentValues)
    .counter('sluice_link_sent_bytes_total', 'Bytes of frames sent.', link.sentBytes)
    .counter('sluice_link_acked_batches_total', 'Batches the hub acknowledged.', link.ackedBatches)
    .toString()
}

function addBroker(page: Exposition, stats: BrokerStats | undefined): void {
  if (stats === undefined) return
  page
    .gauge('sluice_broker_clients', 'Connections to the MQTT broker.', stats.clients)
    .gauge('sluice_broker_subscriptions', 'Subscriptions at the MQTT broker.', stats.subscriptions)
    .gauge('sluice_broker_retained_messages', 'Retained messages the MQTT broker keeps.', stats.retained)
    .counter('sluice_broker_received_messages_total', 'Messages that clients published.', stats.received)
    .counter('sluice_broker_sent_messages_total', 'Messages handed to clients.', stats.sent)
    .counter(
      'sluice_broker_dropped_total',
      'Messages dropped and connections refused, by reason.',
      Object.entries(stats.dropped).map(([reason, n]) => [{ reason }, n] as const),
    )
}

const labelsOf = ({ link, protocol }: { link: string; protocol: string }) => ({ link, protocol })

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
