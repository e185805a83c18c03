import { type Dashboard, stat, timeSeries } from './panels.ts'

/** From the cloud core's own `/metrics`. */
export const cloudcore: Dashboard = {
  uid: 'sluice-cloudcore',
  title: 'Sluice / Cloud core',
  description: 'The hub: what comes in, what waits, what was lost.',
  variables: [],
  rows: [
    {
      title: 'Now',
      panels: [
        stat({
          title: 'Links',
          description: 'Gateways that are connected.',
          unit: 'short',
          width: 6,
          queries: [{ expr: 'sum(sluice_hub_links)' }],
        }),
        stat({
          title: 'Devices known',
          description: 'Of all gateways.',
          unit: 'short',
          width: 6,
          queries: [{ expr: 'sum(sluice_devices{state=""})' }],
        }),
        stat({
          title: 'Values lost, 24 h',
          description: 'Values that gateways said they dropped. Must be 0.',
          unit: 'short',
          width: 6,
          steps: [
            [null, 'green'],
            [1, 'red'],
          ],
          queries: [{ expr: 'sum(increase(sluice_hub_lost_values_total[24h]))' }],
        }),
        stat({
          title: 'Unexplained, 24 h',
          description: 'Batches that never came and that nobody explained. Must be 0.',
          unit: 'short',
          width: 6,
          steps: [
            [null, 'green'],
            [1, 'red'],
          ],
          queries: [{ expr: 'sum(increase(sluice_hub_unexplained_batches_total[24h]))' }],
        }),
      ],
    },
    {
      title: 'Flow',
      panels: [
        timeSeries({
          title: 'Batches',
          description: 'Received a second, and those that were here already.',
          unit: 'reqps',
          width: 12,
          min: 0,
          queries: [
            { expr: 'rate(sluice_hub_batches_total[5m])', legend: 'received' },
            { expr: 'rate(sluice_hub_duplicate_batches_total[5m])', legend: 'repeated' },
          ],
        }),
        timeSeries({
          title: 'What waits',
          description:
            'Batches on their way to the disk, objects that gateways have not acknowledged, statuses behind in the API.',
          unit: 'short',
          width: 12,
          min: 0,
          queries: [
            { expr: 'sluice_hub_commit_queue', legend: 'to the disk' },
            { expr: 'sluice_hub_objects_behind', legend: 'to gateways' },
            { expr: 'sluice_device_status_behind', legend: 'to the API' },
          ],
        }),
        timeSeries({
          title: 'Stream log',
          description: 'Bytes kept for readers that come back.',
          unit: 'bytes',
          width: 8,
          min: 0,
          queries: [{ expr: 'sluice_stream_bytes', legend: 'kept' }],
        }),
        timeSeries({
          title: 'Readers of the stream',
          description: 'Consoles, flows and clients that follow along.',
          unit: 'short',
          width: 8,
          min: 0,
          queries: [{ expr: 'sluice_stream_subscribers', legend: 'readers' }],
        }),
        timeSeries({
          title: 'Memory',
          description: 'Resident memory of the cloud core.',
          unit: 'bytes',
          width: 8,
          min: 0,
          queries: [{ expr: 'process_resident_memory_bytes and on(instance) sluice_hub_links', legend: 'cloud core' }],
        }),
      ],
    },
  ],
}
