import type { NetworkView } from '../../agent/local-api/vital-routes.ts'
import type { DeviceView } from '../../api/views.ts'
import { scaled } from '../../api/vital-words.ts'
import { openDeviceApi } from '../device-api.ts'
import type { Style } from '../output.ts'
import { printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'
import { AGENT_OPTIONS, openVitalsApi } from '../vitals-api.ts'

export const link = defineVerb({
  name: 'link',
  summary: 'Round trip, loss and signal: to the hub and to every device',
  description:
    'The link to the hub as its own pings measure it, the interface it runs over, every other interface, and the signal ' +
    'and errors of each device. Wireless interfaces are asked for their access point, bit rate and retries (needs `iw`). ' +
    'Exits with 3 while there is no link to the hub.',
  options: {
    ...AGENT_OPTIONS,
    quick: { kind: 'flag', help: 'Without asking the wireless interfaces.' },
  },
  examples: [
    { command: 'sluice link', says: 'Why is this gateway slow to answer?' },
    { command: 'sluice link --json | jq .networks', says: 'Interfaces for a script' },
  ],
  async run({ options, out, signal, env }) {
    const [network, devices] = await Promise.all([
      openVitalsApi(options, env).network(!options.quick, signal),
      openDeviceApi({ ...options, cloud: false }, env).devices(signal),
    ])
    const told = devices.filter((device) => device.link !== undefined || device.battery !== undefined)
    if (out.json) {
      const items = told.map(({ namespace, name, state, link: figures, battery }) => ({
        namespace,
        name,
        state,
        link: figures,
        battery,
      }))
      out.value({ ...network, devices: items })
    } else for (const line of linkLines(network, told, out.style, Math.min(out.width, 130))) out.line(line)
    return network.hub === null || network.connected ? EXIT.ok : EXIT.unreachable
  },
})

export function linkLines(view: NetworkView, devices: readonly DeviceView[], style: Style, width: number): string[] {
  const lines = [hubLine(view, style)]
  if (view.networks.length > 0) lines.push('', ...networkTable(view, style, width))
  if (devices.length > 0) lines.push('', ...deviceLinks(devices, style, width))
  return lines
}

function hubLine({ hub, connected, link: figures }: NetworkView, style: Style): string {
  if (hub === null) return `${style.dim('○')} this gateway has not joined a cloud core`
  if (!connected) return `${style.red('●')} ${printable(hub)}: no connection`
  const { roundTripMs, jitterMs, lossRatio, quality, trend, reconnects = 0 } = figures ?? {}
  const parts = [
    roundTripMs === undefined ? 'no round trip measured yet' : `round trip ${roundTripMs.toFixed(1)} ms`,
    ...(jitterMs === undefined ? [] : [`jitter ${jitterMs.toFixed(1)} ms`]),
    ...(lossRatio === undefined ? [] : [`loss ${(lossRatio * 100).toFixed(1)} %`]),
    ...(quality === undefined ? [] : [`quality ${quality.toFixed(2)}`]),
    ...(trend === undefined ? [] : [trend]),
    ...(reconnects === 0 ? [] : [`${reconnects} reconnects`]),
  ]
  return `${trend === 'degrading' ? style.yellow('●') : style.green('●')} ${printable(hub)}: ${parts.join(', ')}`
}

const number = (value: number | undefined, unit: string, digits = 0): string =>
  value === undefined ? '' : `${value.toFixed(digits)}${unit}`

function networkTable({ networks }: NetworkView, style: Style, width: number): string[] {
  const columns = [
    { title: 'INTERFACE' },
    { title: 'KIND' },
    { title: 'STATE' },
    { title: 'SIGNAL', align: 'right' as const },
    { title: 'SNR', align: 'right' as const },
    { title: 'QUALITY', align: 'right' as const },
    { title: 'RATE', align: 'right' as const },
    { title: 'RETRIES', align: 'right' as const },
    { title: 'ERRORS', align: 'right' as const },
    { title: 'ROAMS', align: 'right' as const },
    { title: 'ACCESS POINT', flexible: true },
  ]
  const rows = networks.map((each) => [
    `${each.toHub === true ? '→ ' : '  '}${printable(each.name)}`,
    each.kind,
    each.up ? (each.trend === 'degrading' ? style.yellow('degrading') : 'up') : style.dim('down'),
    number(each.signalDbm, ' dBm'),
    number(each.snrDb, ' dB'),
    number(each.quality, '', 2),
    each.bitrateBps === undefined ? '' : scaled(each.bitrateBps, 'bit/s'),
    each.retryRatio === undefined ? '' : `${(each.retryRatio * 100).toFixed(1)} %`,
    each.errorRatio === undefined ? '' : `${(each.errorRatio * 100).toFixed(2)} %`,
    number(each.roams, ''),
    [each.station?.ssid, each.accessPoint]
      .filter((part) => part !== undefined)
      .map((part) => printable(part))
      .join(' '),
  ])
  return table(columns, rows, width, style.dim)
}

function deviceLinks(devices: readonly DeviceView[], style: Style, width: number): string[] {
  const columns = [
    { title: 'DEVICE', flexible: true },
    { title: 'STATE' },
    { title: 'SIGNAL', align: 'right' as const },
    { title: 'SNR', align: 'right' as const },
    { title: 'SF', align: 'right' as const },
    { title: 'MARGIN', align: 'right' as const },
    { title: 'HEARD BY', align: 'right' as const },
    { title: 'ERRORS', align: 'right' as const },
    { title: 'LATENCY', align: 'right' as const },
    { title: 'BATTERY', align: 'right' as const },
  ]
  const rows = devices.map(({ namespace, name, state, link: figures, battery }) => [
    printable(namespace === 'default' ? name : `${namespace}/${name}`),
    state,
    number(figures?.rssiDbm, ' dBm'),
    number(figures?.snrDb, ' dB', 1),
    number(figures?.spreadingFactor, ''),
    number(figures?.marginDb, ' dB', 1),
    number(figures?.gateways?.length, ''),
    figures?.errorRate === undefined ? '' : `${(figures.errorRate * 100).toFixed(1)} %`,
    number(figures?.latencyMs, ' ms', 1),
    number(battery?.percent, ' %'),
  ])
  return table(columns, rows, width, style.dim)
}
