import { type Dashboard, stat, timeSeries } from './panels.ts'

/** A gateway's own page has no label with its name: it comes from `sluice_build_info` of the same instance. */
const here = 'on(instance) group_left(gateway) sluice_build_info{gateway="$gateway"}'
const of = (expr: string) => `${expr} * ${here}`

/** From the agent's own `/metrics`, where Prometheus has a way to it. */
export const gateway: Dashboard = {
  uid: 'sluice-gateway',
  title: 'Sluice / Gateway',
  description: 'One gateway in depth: where its energy goes, its battery, its radio, its heat.',
  variables: [{ name: 'gateway', label: 'Gateway', query: 'label_values(sluice_build_info, gateway)' }],
  rows: [
    {
      title: 'Now',
      panels: [
        stat({
          title: 'Power',
          description: 'Of the whole gateway; says whether it was measured, or estimated by a model.',
          unit: 'watt',
          width: 4,
          queries: [{ expr: of('sluice_power_watts'), legend: '{{source}} by {{by}}' }],
        }),
        stat({
          title: 'Battery',
          description: 'Charge of each pack.',
          unit: 'percentunit',
          width: 4,
          steps: [
            [null, 'red'],
            [0.2, 'yellow'],
            [0.4, 'green'],
          ],
          queries: [{ expr: `${of('battery_percentage')} / 100`, legend: '{{device}}' }],
        }),
        stat({
          title: 'Time to empty',
          description: 'Forecast from the filtered load.',
          unit: 's',
          width: 4,
          queries: [{ expr: of('battery_remaining_time_seconds'), legend: '{{device}}' }],
        }),
        stat({
          title: 'Link',
          description: 'Quality of the way to the hub.',
          unit: 'percentunit',
          width: 4,
          queries: [{ expr: of('sluice_link_quality_ratio') }],
        }),
        stat({
          title: 'Policy stage',
          description: 'The stage in force; `normal` when nothing is held back.',
          unit: 'short',
          width: 4,
          queries: [{ expr: of('sluice_policy_stage'), legend: '{{stage}}' }],
        }),
        stat({
          title: 'Energy since midnight',
          description: 'Joules of today.',
          unit: 'joule',
          width: 4,
          queries: [{ expr: of('sluice_energy_today_joules'), legend: '{{source}}' }],
        }),
      ],
    },
    {
      title: 'Where the energy goes',
      panels: [
        timeSeries({
          title: 'By part',
          description:
            'Parts and pods add up to the whole. Divided by use: an estimate, also where the whole is measured.',
          unit: 'watt',
          width: 12,
          stacked: true,
          min: 0,
          queries: [
            { expr: of('sluice_part_watts'), legend: '{{part}} {{name}}' },
            { expr: of('sluice_pod_watts'), legend: 'pod {{pod_namespace}}/{{pod_name}}' },
          ],
        }),
        timeSeries({
          title: 'By protocol',
          description: 'What the agent takes for each protocol.',
          unit: 'watt',
          width: 6,
          stacked: true,
          min: 0,
          queries: [{ expr: of('sluice_mapper_watts'), legend: '{{mapper}}' }],
        }),
        timeSeries({
          title: 'By device, top ten',
          description: 'What the agent takes for each device: bus time, reads, airtime.',
          unit: 'watt',
          width: 6,
          min: 0,
          queries: [{ expr: `topk(10, ${of('sluice_device_watts')})`, legend: '{{device}}' }],
        }),
        timeSeries({
          title: 'Battery power',
          description: 'Into the packs and out of them.',
          unit: 'watt',
          width: 12,
          queries: [
            { expr: of('battery_charge_rate_watts'), legend: '{{device}} in' },
            { expr: `-1 * ${of('battery_discharge_rate_watts')}`, legend: '{{device}} out' },
          ],
        }),
        timeSeries({
          title: 'Processor energy by zone',
          description: 'Measured by the processor (RAPL). Zones overlap: never add them.',
          unit: 'watt',
          width: 12,
          min: 0,
          queries: [{ expr: 'kepler_node_cpu_watts{node_name="$gateway"}', legend: '{{zone}}' }],
        }),
      ],
    },
    {
      title: 'Radio and link',
      panels: [
        timeSeries({
          title: 'Signal',
          description: 'Received signal of each wireless interface.',
          unit: 'dBm',
          width: 8,
          queries: [{ expr: of('sluice_network_signal_dbm'), legend: '{{interface}}' }],
        }),
        timeSeries({
          title: 'Retries and errors',
          description: 'Frames sent again, and broken frames.',
          unit: 'percentunit',
          width: 8,
          min: 0,
          queries: [
            { expr: of('sluice_network_retry_ratio'), legend: '{{interface}} retries' },
            { expr: of('sluice_network_error_ratio'), legend: '{{interface}} errors' },
          ],
        }),
        timeSeries({
          title: 'Round trip and jitter',
          description: 'Measured on the link to the hub.',
          unit: 's',
          width: 8,
          min: 0,
          queries: [
            { expr: of('sluice_link_round_trip_seconds'), legend: 'round trip' },
            { expr: of('sluice_link_jitter_seconds'), legend: 'jitter' },
          ],
        }),
      ],
    },
    {
      title: 'The machine and the agent',
      panels: [
        timeSeries({
          title: 'Temperature',
          description: 'Thermal zones.',
          unit: 'celsius',
          width: 8,
          queries: [{ expr: of('sluice_thermal_celsius'), legend: '{{zone}}' }],
        }),
        timeSeries({
          title: 'Agent: processor',
          description: 'Share of one core.',
          unit: 'percentunit',
          width: 8,
          min: 0,
          queries: [{ expr: of('rate(process_cpu_seconds_total[5m])'), legend: 'agent' }],
        }),
        timeSeries({
          title: 'Agent: memory',
          description: 'Resident memory.',
          unit: 'bytes',
          width: 8,
          min: 0,
          queries: [{ expr: of('process_resident_memory_bytes'), legend: 'agent' }],
        }),
      ],
    },
  ],
}
