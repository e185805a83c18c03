import type { Labels } from '../../api/metrics/exposition.ts'
import { type Families, MAX_DEVICE_SERIES, ratio, type Sample, some } from '../../api/metrics/families.ts'
import type { EnergySnapshot, PodFigure } from '../energy/snapshot.ts'
import type { PackReading } from '../energy/source.ts'

/**
 * Kepler's names (0.10 and later) carry what was measured and nothing else: RAPL's zones, and how they are divided among
 * pods by processor time, as Kepler itself does it. Zones overlap: never add them.
 */
export function addKepler(families: Families, energy: EnergySnapshot, gateway: string): void {
  const zones = (value: (zone: EnergySnapshot['zones'][number]) => number): Sample[] =>
    energy.zones.map((zone) => [{ zone: zone.zone, path: zone.path, node_name: gateway }, value(zone)])
  const pods = energy.attribution?.pods ?? []
  const podZones = (value: (share: { readonly joules: number; readonly watts: number }) => number): Sample[] =>
    pods.flatMap((pod) =>
      pod.zones.map((share): Sample => [{ ...podLabels(pod), zone: share.zone, node_name: gateway }, value(share)]),
    )
  const containerZones = (value: (share: { readonly joules: number; readonly watts: number }) => number): Sample[] =>
    pods.flatMap((pod) =>
      pod.containers.flatMap(({ id, zones: shares }) =>
        shares.map(
          (share): Sample => [{ ...containerLabels(id, pod), zone: share.zone, node_name: gateway }, value(share)],
        ),
      ),
    )
  families
    .counter(
      'kepler_node_cpu_joules_total',
      'Energy of a RAPL zone.',
      zones((zone) => zone.joules),
    )
    .gauge(
      'kepler_node_cpu_watts',
      'Power of a RAPL zone.',
      zones((zone) => zone.watts),
    )
    .counter(
      'kepler_node_cpu_active_joules_total',
      'Energy by processor use.',
      zones((zone) => zone.activeJoules),
    )
    .gauge(
      'kepler_node_cpu_active_watts',
      'Power by processor use.',
      zones((zone) => zone.activeWatts),
    )
    .counter(
      'kepler_node_cpu_idle_joules_total',
      'The rest of the energy.',
      zones((zone) => zone.idleJoules),
    )
    .gauge(
      'kepler_node_cpu_idle_watts',
      'The rest of the power.',
      zones((zone) => zone.idleWatts),
    )
    .gauge('kepler_node_cpu_usage_ratio', 'Processor use, 0 to 1.', some({ node_name: gateway }, energy.usageRatio))
    .counter(
      'kepler_pod_cpu_joules_total',
      'Share of a RAPL zone by processor time.',
      podZones(({ joules }) => joules),
    )
    .gauge(
      'kepler_pod_cpu_watts',
      'Share of a RAPL zone by processor time.',
      podZones(({ watts }) => watts),
    )
    .counter(
      'kepler_container_cpu_joules_total',
      'Share of a RAPL zone by processor time.',
      containerZones(({ joules }) => joules),
    )
    .gauge(
      'kepler_container_cpu_watts',
      'Share of a RAPL zone by processor time.',
      containerZones(({ watts }) => watts),
    )
    .counter(
      'kepler_container_cpu_seconds_total',
      'Processor time.',
      pods.flatMap((pod) =>
        pod.containers.map(
          ({ id, cpuSeconds }): Sample => [{ ...containerLabels(id, pod), node_name: gateway }, cpuSeconds],
        ),
      ),
    )
    .gauge(
      'kepler_platform_watts',
      'Power of the whole machine by a sensor.',
      energy.meters
        .filter(({ covers, source }) => covers === 'machine' && source === 'measured')
        .flatMap(({ meter, by, watts }) => some({ source: by, source_id: meter, node_name: gateway }, watts)),
    )
}

const containerLabels = (id: string, { uid, state }: PodFigure): Labels => ({
  container_id: id,
  container_name: id.slice(0, 12),
  state,
  pod_id: uid,
})

/** Ours: everything with its `source`. Whatever is divided among parts is an estimate, also where the whole is measured. */
export function addEnergy(families: Families, { power, energy, totals, attribution, meters }: EnergySnapshot): void {
  families
    .gauge(
      'sluice_power_watts',
      'Power of the gateway now.',
      some({ source: power?.source ?? '', by: power?.by ?? '' }, power?.watts),
    )
    .gauge(
      'sluice_power_error_ratio',
      'Standard error of sluice_power_watts by its value.',
      some({ source: power?.source ?? '', by: power?.by ?? '' }, ratio(power?.errorPercent)),
    )
    .counter('sluice_energy_joules_total', 'Energy of the gateway since the agent started.', [
      [{ source: 'measured' }, totals.measuredJ],
      [{ source: 'estimated' }, totals.estimatedJ],
    ])
    .counter('sluice_energy_unknown_seconds_total', 'Time of which no energy is known.', [[{}, totals.unknownS]])
    .gauge(
      'sluice_energy_today_joules',
      'Energy since midnight.',
      some({ source: energy?.source ?? '', by: energy?.by ?? '' }, energy?.todayJ),
    )
    .gauge('sluice_carbon_today_grams', 'CO2 equivalent of the energy since midnight.', some({}, energy?.todayCarbonG))
    .gauge(
      'sluice_carbon_intensity_grams_per_joule',
      'CO2 equivalent of a joule of the supply.',
      some({}, energy?.carbonGPerKWh === undefined ? undefined : energy.carbonGPerKWh / 3.6e6),
    )
    .counter(
      'sluice_meter_joules_total',
      'Energy by each meter. They overlap: never add them.',
      meters.map(({ meter, by, covers, source, joules }) => [{ meter, by, covers, source }, joules]),
    )
  if (attribution === undefined) return
  const { idle, rest, agent, slices, pods } = attribution
  const parts = [
    { labels: { part: 'idle' }, figure: idle },
    { labels: { part: 'rest' }, figure: rest },
    { labels: { part: 'agent' }, figure: agent },
    ...slices.map((figure) => ({ labels: { part: 'slice', name: figure.name }, figure })),
  ]
  const source = 'estimated'
  const mappers = agent.mappers
  const devices = mappers.flatMap((mapper) =>
    mapper.devices.map((figure) => ({ labels: { device: figure.name, mapper: mapper.name, source }, figure })),
  )
  const listed = devices.length <= MAX_DEVICE_SERIES ? devices : []
  families
    .gauge(
      'sluice_part_watts',
      'Parts of the power: they and the pods add up to the whole.',
      parts.map(({ labels, figure }) => [{ ...labels, source }, figure.watts]),
    )
    .counter(
      'sluice_part_joules_total',
      'Parts of the energy: they and the pods add up to the whole.',
      parts.map(({ labels, figure }) => [{ ...labels, source }, figure.joules]),
    )
    .gauge(
      'sluice_pod_watts',
      'Power of a pod.',
      pods.map((pod) => [{ ...podLabels(pod), source }, pod.watts]),
    )
    .counter(
      'sluice_pod_joules_total',
      'Energy of a pod.',
      pods.map((pod) => [{ ...podLabels(pod), source }, pod.joules]),
    )
    .gauge(
      'sluice_mapper_watts',
      'Of the agent: power for a protocol and its devices.',
      mappers.map(({ name, watts }) => [{ mapper: name, source }, watts]),
    )
    .counter(
      'sluice_mapper_joules_total',
      'Of the agent: energy for a protocol and its devices.',
      mappers.map(({ name, joules }) => [{ mapper: name, source }, joules]),
    )
    .gauge(
      'sluice_device_watts',
      'Of a mapper: power for a device.',
      listed.map(({ labels, figure }) => [labels, figure.watts]),
    )
    .counter(
      'sluice_device_joules_total',
      'Of a mapper: energy for a device.',
      listed.map(({ labels, figure }) => [labels, figure.joules]),
    )
}

/** The names of FLUIDOS' telemetry for batteries, and the ones its orchestrator asks for. */
export function addBattery(families: Families, { battery, packs }: EnergySnapshot): void {
  if (battery === undefined) return
  const shown: readonly (PackReading | (typeof battery & { readonly name: string }))[] =
    packs.length > 0 ? packs : [{ ...battery, name: 'battery' }]
  const each = (value: (pack: (typeof shown)[number]) => number | undefined): Sample[] =>
    shown.flatMap((pack) => some({ device: pack.name }, value(pack)))
  const whole = { device: shown.length === 1 ? shown[0]!.name : 'all' }
  families
    .gauge('fluidos_battery', 'Charge in per cent.', some({}, battery.percent))
    .gauge(
      'battery_percentage',
      'Charge in per cent.',
      each(({ percent }) => percent),
    )
    .gauge(
      'battery_power_draw_watts',
      'Power into or out of the pack.',
      each(({ watts }) => (watts === undefined ? undefined : Math.abs(watts))),
    )
    .gauge(
      'battery_charge_rate_watts',
      'Power into the pack.',
      each(({ watts }) => flow(watts, 1)),
    )
    .gauge(
      'battery_discharge_rate_watts',
      'Power out of the pack.',
      each(({ watts }) => flow(watts, -1)),
    )
    .gauge('battery_health_percent', 'Full by designed energy.', each(healthPercent))
    .gauge(
      'battery_voltage_volts',
      'Voltage.',
      each(({ volts }) => volts),
    )
    .gauge(
      'battery_temperature_celsius',
      'Temperature.',
      each(({ celsius }) => celsius),
    )
    .gauge(
      'battery_cycle_count',
      'Charge cycles.',
      each(({ cycles }) => cycles),
    )
    .gauge('battery_remaining_time_seconds', 'Forecast until empty.', some(whole, battery.timeToEmpty?.seconds))
    .gauge('sluice_battery_full_time_seconds', 'Forecast until full.', some(whole, battery.timeToFull?.seconds))
    .gauge('sluice_battery_state', '1 for the state of all packs together.', [[{ state: battery.state }, 1]])
}

const podLabels = (pod: { readonly uid: string; readonly name: string; readonly state: string }): Labels => {
  const slash = pod.name.indexOf('/')
  return {
    pod_id: pod.uid,
    pod_name: pod.name.slice(slash + 1),
    pod_namespace: slash < 0 ? '' : pod.name.slice(0, slash),
    state: pod.state,
  }
}

const flow = (watts: number | undefined, sign: 1 | -1): number | undefined =>
  watts === undefined ? undefined : Math.max(0, watts * sign)

const healthPercent = ({
  fullJ,
  designJ,
}: {
  readonly fullJ?: number
  readonly designJ?: number
}): number | undefined =>
  fullJ === undefined || designJ === undefined || designJ <= 0 ? undefined : (fullJ / designJ) * 100
