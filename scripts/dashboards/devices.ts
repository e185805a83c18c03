import { type Dashboard, stat, timeSeries } from './panels.ts'

const here = 'on(instance) group_left(gateway) sluice_build_info{gateway=~"$gateway"}'
const of = (expr: string) => `${expr} * ${here}`

/** From the agents' own `/metrics`. */
export const devices: Dashboard = {
  uid: 'sluice-devices',
  title: 'Sluice / Devices and buses',
  description: 'How full the lines are, what fails on them, how well devices are heard, how fast writes end.',
  variables: [{ name: 'gateway', label: 'Gateway', query: 'label_values(sluice_build_info, gateway)', many: true }],
  rows: [
    {
      title: 'Now',
      panels: [
        stat({
          title: 'Devices',
          description: 'By state.',
          unit: 'short',
          width: 8,
          queries: [{ expr: `sum by (state) (${of('sluice_devices{state!=""}')})`, legend: '{{state}}' }],
        }),
        stat({
          title: 'Readings',
          description: 'Values a second that came from devices.',
          unit: 'reqps',
          width: 8,
          queries: [{ expr: `sum(${of('rate(sluice_readings_total[5m])')})` }],
        }),
        stat({
          title: 'Reports',
          description: 'Values a second that were worth telling.',
          unit: 'reqps',
          width: 8,
          queries: [{ expr: `sum(${of('rate(sluice_reports_total[5m])')})` }],
        }),
      ],
    },
    {
      title: 'Buses',
      panels: [
        timeSeries({
          title: 'Load',
          description: 'Share of time a line is busy. Above 0.9 polls come late.',
          unit: 'percentunit',
          width: 12,
          min: 0,
          max: 1,
          queries: [{ expr: of('sluice_device_link_use_ratio'), legend: '{{gateway}} {{link}}' }],
        }),
        timeSeries({
          title: 'Read plan',
          description: 'Bus time of the ideal plan by that of the plan in force.',
          unit: 'percentunit',
          width: 12,
          min: 0,
          max: 1,
          queries: [{ expr: of('sluice_plan_efficiency_ratio'), legend: '{{gateway}} {{link}}' }],
        }),
        timeSeries({
          title: 'Requests',
          description: 'Requests a second on each line.',
          unit: 'reqps',
          width: 12,
          min: 0,
          queries: [{ expr: of('rate(sluice_requests_total[5m])'), legend: '{{gateway}} {{link}}' }],
        }),
        timeSeries({
          title: 'Failed requests by kind',
          description: 'Time-outs, broken answers, refusals.',
          unit: 'reqps',
          width: 12,
          min: 0,
          queries: [
            { expr: `${of('rate(sluice_read_errors_total[5m])')} > 0`, legend: '{{gateway}} {{link}} {{kind}}' },
          ],
        }),
      ],
    },
    {
      title: 'Radio devices',
      panels: [
        timeSeries({
          title: 'Signal, the ten weakest',
          description: 'BLE and LoRaWAN devices.',
          unit: 'dBm',
          width: 8,
          queries: [{ expr: `bottomk(10, ${of('sluice_device_rssi_dbm')})`, legend: '{{device}}' }],
        }),
        timeSeries({
          title: 'Signal to noise, the ten worst',
          description: 'LoRaWAN is readable far below 0 dB: down to −20 dB at SF12.',
          unit: 'dB',
          width: 8,
          queries: [{ expr: `bottomk(10, ${of('sluice_device_snr_db')})`, legend: '{{device}}' }],
        }),
        timeSeries({
          title: 'Battery, the ten emptiest',
          description: 'Devices that tell their charge.',
          unit: 'percentunit',
          width: 8,
          min: 0,
          max: 1,
          queries: [{ expr: `bottomk(10, ${of('sluice_device_battery_ratio')})`, legend: '{{device}}' }],
        }),
      ],
    },
    {
      title: 'Writes',
      panels: [
        timeSeries({
          title: 'How writes end',
          description: 'Desired values a second: applied, rejected, timed out.',
          unit: 'reqps',
          width: 12,
          min: 0,
          queries: [{ expr: of('rate(sluice_write_ends_total[5m])'), legend: '{{gateway}} {{state}}' }],
        }),
        timeSeries({
          title: 'From accepted to ended',
          description: 'Half of the writes, and 99 of 100, end within this time.',
          unit: 's',
          width: 12,
          min: 0,
          queries: [
            {
              expr: 'histogram_quantile(0.5, sum by (le) (rate(sluice_write_duration_seconds_bucket[5m])))',
              legend: 'p50',
            },
            {
              expr: 'histogram_quantile(0.99, sum by (le) (rate(sluice_write_duration_seconds_bucket[5m])))',
              legend: 'p99',
            },
          ],
        }),
      ],
    },
  ],
}
