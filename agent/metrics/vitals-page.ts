import type { Exposition } from '../../api/metrics/exposition.ts'
import { Families, ratio, type Sample, some } from '../../api/metrics/families.ts'
import type { GatewayStatus } from '../../api/resources.ts'
import type { NetworkStatus } from '../../api/schema/power.ts'
import type { DeviceView } from '../../api/views.ts'
import type { EnergySnapshot } from '../energy/snapshot.ts'
import { addBattery, addEnergy, addKepler } from './energy-families.ts'
import { addRobots, type Robot } from './robots.ts'

type LinkFigures = NonNullable<GatewayStatus['link']>

/** What the page says of power, heat, networks and policy. */
export interface VitalMetrics {
  readonly gateway: string
  readonly energy: EnergySnapshot | undefined
  readonly networks: readonly NetworkStatus[]
  readonly link: LinkFigures | undefined
  readonly policy: GatewayStatus['policy']
  /** Signal and battery of devices, at most `MAX_DEVICE_SERIES` of them. */
  readonly devices: Iterable<Pick<DeviceView, 'namespace' | 'name' | 'link' | 'battery'>>
  readonly robots: readonly Robot[]
}

export function addVitals(page: Exposition, vitals: VitalMetrics): void {
  const families = new Families(page)
  if (vitals.energy !== undefined) {
    addKepler(families, vitals.energy, vitals.gateway)
    addEnergy(families, vitals.energy)
    addBattery(families, vitals.energy)
    addHeat(families, vitals.energy)
  }
  addNetworks(families, vitals)
  addDevices(families, vitals.devices)
  addRobots(families, vitals.robots, vitals.gateway)
}

function addHeat(families: Families, { thermal, sources }: EnergySnapshot): void {
  families
    .gauge(
      'sluice_thermal_celsius',
      'Temperature by zone.',
      (thermal?.zones ?? []).map(({ name, celsius }) => [{ zone: name }, celsius]),
    )
    .gauge(
      'sluice_throttled',
      '1 while the machine is slowed down by heat or for want of voltage.',
      thermal === undefined ? [] : [[{}, thermal.throttled ? 1 : 0]],
    )
    .gauge(
      'sluice_energy_source',
      '1 for the state of each source of figures: ok, absent, forbidden, faulty.',
      sources.map(({ source, state }) => [{ source, state }, 1]),
    )
}

function addNetworks(families: Families, { networks, link, policy, gateway }: VitalMetrics): void {
  const each = (value: (network: NetworkStatus) => number | undefined): Sample[] =>
    networks.flatMap((network) => some({ interface: network.name, kind: network.kind }, value(network)))
  const cluster = { cluster: gateway }
  families
    .gauge(
      'sluice_network_up',
      '1 while an interface has a carrier.',
      each(({ up }) => (up ? 1 : 0)),
    )
    .gauge(
      'sluice_network_to_hub',
      '1 for the interface that leads to the hub.',
      each(({ toHub }) => (toHub ? 1 : 0)),
    )
    .gauge(
      'sluice_network_signal_dbm',
      'Received signal.',
      each(({ signalDbm }) => signalDbm),
    )
    .gauge(
      'sluice_network_noise_dbm',
      'Noise.',
      each(({ noiseDbm }) => noiseDbm),
    )
    .gauge(
      'sluice_network_snr_db',
      'Signal to noise.',
      each(({ snrDb }) => snrDb),
    )
    .gauge(
      'sluice_network_quality_ratio',
      '0 unusable to 1 perfect.',
      each(({ quality }) => quality),
    )
    .gauge(
      'sluice_network_bitrate_bits_per_second',
      'Rate of sending.',
      each(({ bitrateBps }) => bitrateBps),
    )
    .gauge(
      'sluice_network_retry_ratio',
      'Frames sent again by frames sent.',
      each(({ retryRatio }) => retryRatio),
    )
    .gauge(
      'sluice_network_error_ratio',
      'Broken frames by frames.',
      each(({ errorRatio }) => errorRatio),
    )
    .counter(
      'sluice_network_roams_total',
      'Changes of the access point that were seen.',
      each(({ roams }) => roams),
    )
    .gauge('sluice_link_loss_ratio', 'Pings to the hub that nobody answered.', some({}, link?.lossRatio))
    .gauge('sluice_link_quality_ratio', 'Of the way to the hub, 0 unusable to 1 perfect.', some({}, link?.quality))
    .gauge('fluidos_latency', 'Round trip to the hub in milliseconds.', some(cluster, link?.roundTripMs))
    .gauge(
      'fluidos_bandwidth_against',
      'Round trip to a point in milliseconds, under the name FLUIDOS asks for.',
      some({ ...cluster, point: 'hub' }, link?.roundTripMs),
    )
    .gauge(
      'sluice_policy_stage',
      '1 for the stage of the policy in force.',
      policy === undefined ? [] : [[{ stage: policy.stage }, 1]],
    )
    .gauge('sluice_policy_paused_devices', 'Devices left alone by the policy.', some({}, policy?.paused))
}

function addDevices(families: Families, devices: VitalMetrics['devices']): void {
  const shown = [...devices]
  const each = (value: (device: (typeof shown)[number]) => number | undefined): Sample[] =>
    shown.flatMap((device) => some({ device: `${device.namespace}/${device.name}` }, value(device)))
  families
    .gauge(
      'sluice_device_rssi_dbm',
      'Signal of a device.',
      each(({ link }) => link?.rssiDbm),
    )
    .gauge(
      'sluice_device_snr_db',
      'Signal to noise of a device.',
      each(({ link }) => link?.snrDb),
    )
    .gauge(
      'sluice_device_error_ratio',
      'Failed requests to a device, 0 to 1.',
      each(({ link }) => link?.errorRate),
    )
    .gauge(
      'sluice_device_battery_ratio',
      'Charge of a device, 0 to 1.',
      each(({ battery }) => ratio(battery?.percent)),
    )
}
