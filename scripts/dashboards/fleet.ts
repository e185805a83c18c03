import { type Dashboard, stat, table, timeSeries } from './panels.ts'

const mine = '{gateway=~"$gateway"}'

/** From the cloud core's `/metrics/gateways`: nothing needs a way to a gateway. */
export const fleet: Dashboard = {
  uid: 'sluice-fleet',
  title: 'Sluice / Fleet',
  description: 'All gateways as they last told of themselves: who is there, what lives on battery, what waits.',
  variables: [{ name: 'gateway', label: 'Gateway', query: 'label_values(sluice_gateway_up, gateway)', many: true }],
  rows: [
    {
      title: 'Now',
      panels: [
        stat({
          title: 'Gateways online',
          description: 'Connected gateways of those that are known.',
          unit: 'short',
          width: 4,
          queries: [
            { expr: `sum(sluice_gateway_up${mine})`, legend: 'online' },
            { expr: `count(sluice_gateway_up${mine})`, legend: 'known' },
          ],
        }),
        stat({
          title: 'Devices offline',
          description: 'Devices that their gateway does not reach. Anything but 0 deserves a look.',
          unit: 'short',
          width: 4,
          steps: [
            [null, 'green'],
            [1, 'yellow'],
            [10, 'red'],
          ],
          queries: [{ expr: `sum(sluice_gateway_devices{gateway=~"$gateway",state="offline"})` }],
        }),
        stat({
          title: 'On battery',
          description: 'Gateways whose battery is being emptied right now.',
          unit: 'short',
          width: 4,
          queries: [
            { expr: `count(sluice_gateway_battery_state{gateway=~"$gateway",state="discharging"}) or vector(0)` },
          ],
        }),
        stat({
          title: 'Lowest battery',
          description: 'The emptiest battery of the fleet.',
          unit: 'percentunit',
          width: 4,
          steps: [
            [null, 'red'],
            [0.2, 'yellow'],
            [0.4, 'green'],
          ],
          queries: [{ expr: `min(sluice_gateway_battery_ratio${mine})` }],
        }),
        stat({
          title: 'Power',
          description: 'Of all gateways together, measured and estimated apart.',
          unit: 'watt',
          width: 4,
          queries: [{ expr: `sum by (source) (sluice_gateway_power_watts${mine})`, legend: '{{source}}' }],
        }),
        stat({
          title: 'Values dropped, 24 h',
          description: 'Values that a gateway threw away because its outbox or disk was full. Must be 0.',
          unit: 'short',
          width: 4,
          steps: [
            [null, 'green'],
            [1, 'red'],
          ],
          queries: [{ expr: `sum(increase(sluice_gateway_outbox_dropped_values_total${mine}[24h]))` }],
        }),
      ],
    },
    {
      title: 'Energy',
      panels: [
        timeSeries({
          title: 'Power by gateway',
          description: 'Each figure says whether it was measured or estimated.',
          unit: 'watt',
          width: 12,
          min: 0,
          queries: [{ expr: `sluice_gateway_power_watts${mine}`, legend: '{{gateway}} ({{source}})' }],
        }),
        timeSeries({
          title: 'Battery',
          description: 'Charge of gateways that have one.',
          unit: 'percentunit',
          width: 12,
          min: 0,
          max: 1,
          queries: [{ expr: `sluice_gateway_battery_ratio${mine}`, legend: '{{gateway}}' }],
        }),
        timeSeries({
          title: 'Time to empty',
          description: 'Forecast, and the early end of its interval.',
          unit: 's',
          width: 12,
          min: 0,
          queries: [
            { expr: `sluice_gateway_battery_empty_seconds${mine}`, legend: '{{gateway}}' },
            { expr: `sluice_gateway_battery_empty_low_seconds${mine}`, legend: '{{gateway}} at the earliest' },
          ],
        }),
        timeSeries({
          title: 'CO₂ equivalent today',
          description:
            'Grams since midnight of the gateway’s own time zone, where the intensity of its supply is known.',
          unit: 'massg',
          width: 12,
          min: 0,
          queries: [{ expr: `sluice_gateway_carbon_today_grams${mine}`, legend: '{{gateway}}' }],
        }),
      ],
    },
    {
      title: 'Links',
      panels: [
        timeSeries({
          title: 'Round trip to the hub',
          description: 'Measured on the link itself.',
          unit: 's',
          width: 8,
          min: 0,
          queries: [{ expr: `sluice_gateway_link_round_trip_seconds${mine}`, legend: '{{gateway}}' }],
        }),
        timeSeries({
          title: 'Link quality',
          description: '0 unusable to 1 perfect: interface, round trip and loss together.',
          unit: 'percentunit',
          width: 8,
          min: 0,
          max: 1,
          queries: [{ expr: `sluice_gateway_link_quality_ratio${mine}`, legend: '{{gateway}}' }],
        }),
        timeSeries({
          title: 'Wi-Fi signal',
          description: 'Above −67 dBm is good, below −80 dBm is trouble.',
          unit: 'dBm',
          width: 8,
          queries: [{ expr: `sluice_gateway_network_signal_dbm${mine}`, legend: '{{gateway}} {{interface}}' }],
        }),
        timeSeries({
          title: 'Waiting for the hub',
          description: 'Batches in the outboxes: grows while a link is down and drains afterwards.',
          unit: 'short',
          width: 12,
          min: 0,
          queries: [{ expr: `sluice_gateway_outbox_batches${mine}`, legend: '{{gateway}}' }],
        }),
        timeSeries({
          title: 'Temperature',
          description: 'The hottest zone of each gateway.',
          unit: 'celsius',
          width: 12,
          queries: [{ expr: `sluice_gateway_temperature_celsius${mine}`, legend: '{{gateway}}' }],
        }),
      ],
    },
    {
      title: 'Gateways',
      panels: [
        table({
          title: 'Last heard',
          description: 'When each gateway was last heard.',
          unit: 's',
          width: 12,
          queries: [{ expr: `time() - sluice_gateway_last_seen_timestamp_seconds${mine}` }],
        }),
        table({
          title: 'Certificate ends in',
          description:
            'Renewed by itself while the gateway is connected; one that stays away too long must join again.',
          unit: 's',
          width: 12,
          steps: [
            [null, 'red'],
            [604_800, 'green'],
          ],
          queries: [{ expr: `sluice_gateway_certificate_expiry_timestamp_seconds${mine} - time()` }],
        }),
      ],
    },
  ],
}
