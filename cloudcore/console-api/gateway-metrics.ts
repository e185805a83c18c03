import { Exposition } from '../../api/metrics/exposition.ts'
import { Families, ratio, type Sample, some } from '../../api/metrics/families.ts'
import type { GatewayStatus } from '../../api/resources.ts'
import type { GatewayView } from '../../api/views.ts'

/**
 * The page at `/metrics/gateways`: what every gateway last told of itself, so that a fleet behind NAT is watched without a
 * way to any of its gateways. About twenty series a gateway. What a gateway does not know is left out, never zero.
 */
export function renderGatewayMetrics(gateways: readonly GatewayView[]): string {
  const page = new Exposition()
  const families = new Families(page)
  const each = (value: (view: GatewayView) => number | undefined): Sample[] =>
    gateways.flatMap((view) => some({ gateway: view.name }, value(view)))
  const told = (value: (status: GatewayStatus) => number | undefined): Sample[] => each(({ status }) => value(status))
  const sourced = (
    part: (status: GatewayStatus) => { readonly source: string } | undefined,
    value: (status: GatewayStatus) => number | undefined,
  ): Sample[] =>
    gateways.flatMap(({ name, status }) => some({ gateway: name, source: part(status)?.source ?? '' }, value(status)))
  const count = (view: GatewayView, state: 'online' | 'offline') =>
    some({ gateway: view.name, state }, view.status.devices?.[state])
  families
    .gauge(
      'sluice_gateway_up',
      '1 while a gateway is connected.',
      each(({ state }) => (state === 'online' ? 1 : 0)),
    )
    .gauge(
      'sluice_gateway_last_seen_timestamp_seconds',
      'When it was last heard.',
      told(({ lastSeen }) => seconds(lastSeen)),
    )
    .gauge(
      'sluice_gateway_certificate_expiry_timestamp_seconds',
      'When its certificate ends.',
      told(({ certificateExpires }) => seconds(certificateExpires)),
    )
    .gauge(
      'sluice_gateway_devices',
      'Its devices by state.',
      gateways.flatMap((view) => [...count(view, 'online'), ...count(view, 'offline')]),
    )
  addOutbox(families, told)
  addLink(families, gateways, told)
  families
    .gauge(
      'sluice_gateway_power_watts',
      'Its power now.',
      sourced(
        ({ power }) => power,
        ({ power }) => power?.watts,
      ),
    )
    .gauge(
      'sluice_gateway_energy_today_joules',
      'Its energy since midnight of its own time zone.',
      sourced(
        ({ energy }) => energy,
        ({ energy }) => energy?.todayJ,
      ),
    )
    .gauge(
      'sluice_gateway_carbon_today_grams',
      'CO2 equivalent of its energy since midnight.',
      told(({ energy }) => energy?.todayCarbonG),
    )
  addBattery(families, gateways, told)
  families
    .gauge(
      'sluice_gateway_temperature_celsius',
      'Its hottest zone.',
      told(({ thermal }) => thermal?.celsius),
    )
    .gauge(
      'sluice_gateway_throttled',
      '1 while it is slowed down by heat or for want of voltage.',
      told(({ thermal }) => (thermal === undefined ? undefined : Number(thermal.throttled))),
    )
    .gauge(
      'sluice_gateway_policy_stage',
      '1 for the stage of its policy in force.',
      gateways.flatMap(({ name, status: { policy } }) =>
        policy === undefined ? [] : [[{ gateway: name, stage: policy.stage }, 1] as const],
      ),
    )
    .gauge(
      'sluice_gateway_tether_state',
      '1 for who decides for it: autonomous, led, slack, lost.',
      gateways.flatMap(({ name, status: { tether } }) =>
        tether === undefined ? [] : [[{ gateway: name, state: tether.state }, 1] as const],
      ),
    )
    .gauge(
      'sluice_gateway_agent_resident_memory_bytes',
      'Resident memory of its agent.',
      told(({ agent }) => agent?.rssBytes),
    )
  return page.toString()
}

type Told = (value: (status: GatewayStatus) => number | undefined) => Sample[]

function addOutbox(families: Families, told: Told): void {
  families
    .gauge(
      'sluice_gateway_outbox_batches',
      'Batches that wait at it for the hub.',
      told(({ outbox }) => outbox?.batches),
    )
    .gauge(
      'sluice_gateway_outbox_bytes',
      'Bytes that wait at it for the hub.',
      told(({ outbox }) => outbox?.bytes),
    )
    .counter(
      'sluice_gateway_outbox_dropped_values_total',
      'Values it dropped because its outbox or disk was full.',
      told(({ outbox }) => outbox?.droppedValues),
    )
}

function addLink(families: Families, gateways: readonly GatewayView[], told: Told): void {
  families
    .gauge(
      'sluice_gateway_link_round_trip_seconds',
      'Round trip between it and the hub.',
      told(({ link }) => (link?.roundTripMs === undefined ? undefined : link.roundTripMs / 1000)),
    )
    .gauge(
      'sluice_gateway_link_loss_ratio',
      'Its pings that nobody answered.',
      told(({ link }) => link?.lossRatio),
    )
    .gauge(
      'sluice_gateway_link_quality_ratio',
      'Of its way to the hub, 0 unusable to 1 perfect.',
      told(({ link }) => link?.quality),
    )
    .gauge(
      'sluice_gateway_network_signal_dbm',
      'Received signal of a wireless interface.',
      gateways.flatMap(({ name, status }) =>
        (status.networks ?? []).flatMap((network) =>
          some({ gateway: name, interface: network.name }, network.signalDbm),
        ),
      ),
    )
}

function addBattery(families: Families, gateways: readonly GatewayView[], told: Told): void {
  families
    .gauge(
      'sluice_gateway_battery_ratio',
      'Charge, 0 to 1.',
      told(({ battery }) => ratio(battery?.percent)),
    )
    .gauge(
      'sluice_gateway_battery_watts',
      'Into the battery when positive, out of it when negative.',
      told(({ battery }) => battery?.watts),
    )
    .gauge(
      'sluice_gateway_battery_empty_seconds',
      'Forecast until the battery is empty.',
      told(({ battery }) => battery?.timeToEmpty?.seconds),
    )
    .gauge(
      'sluice_gateway_battery_empty_low_seconds',
      'The earliest that the forecast holds for likely, one chance in twenty.',
      told(({ battery }) => battery?.timeToEmpty?.lowSeconds),
    )
    .gauge(
      'sluice_gateway_battery_state',
      '1 for the state of its battery.',
      gateways.flatMap(({ name, status: { battery } }) =>
        battery === undefined ? [] : [[{ gateway: name, state: battery.state }, 1] as const],
      ),
    )
}

const seconds = (at: string | undefined): number | undefined => (at === undefined ? undefined : Date.parse(at) / 1000)
