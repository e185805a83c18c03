import { existsSync } from 'node:fs'
import { DeviceApi, type HubLinkView } from '../../api/client/device-api.ts'
import { toSluiceError } from '../../api/errors.ts'
import type { DeviceView, GatewayView } from '../../api/views.ts'
import { vitalLine } from '../../api/vital-words.ts'
import type { LinkStats } from '../../mappers/sdk/mapper.ts'
import { cloudEndpoint, cloudFile, dataFolder, socketPath } from '../device-api.ts'
import type { Style } from '../output.ts'
import { percent } from '../plan-picture.ts'
import { padEnd, printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

interface Side {
  readonly reachable: boolean
  readonly where: string
  readonly trouble?: string
  readonly devices: readonly DeviceView[]
}

export const status = defineVerb({
  name: 'status',
  summary: 'Agent, cloud, links and devices in a few lines',
  description: 'Exits with 3 when neither the agent nor the cloud core of the folder answers.',
  options: { data: { kind: 'text', value: 'DIR', help: 'Folder of the agent or cloud core (also: SLUICE_DATA).' } },
  examples: [
    { command: 'sluice status', says: 'Is everything well?' },
    { command: 'sluice status --json | jq .links', says: 'How busy each line is' },
  ],
  async run({ options, out, signal, env }) {
    const data = dataFolder(options.data, env)
    const agentApi = existsSync(socketPath(data))
      ? new DeviceApi({ kind: 'socket', path: socketPath(data) })
      : undefined
    const [agent, cloud, links, hub, gateways] = await Promise.all([
      look(agentApi, socketPath(data), signal),
      look(cloudApi(data), cloudFile(data), signal),
      agentApi?.links(signal).catch(() => []) ?? [],
      agentApi?.hub(signal).catch(() => undefined),
      gatewaysOf(agentApi ?? cloudApi(data), signal),
    ])
    if (out.json) out.value({ data, agent: brief(agent), cloud: brief(cloud), hub: hub ?? null, links, gateways })
    else for (const line of statusLines({ agent, cloud, hub, links, gateways }, out.style)) out.line(line)
    return agent?.reachable === true || cloud?.reachable === true ? EXIT.ok : EXIT.unreachable
  },
})

/** The gateway itself knows best; without it, every gateway as the cloud core knows it. */
const gatewaysOf = async (api: DeviceApi | undefined, signal: AbortSignal): Promise<readonly GatewayView[]> =>
  (await api?.gateways(signal).catch(() => [])) ?? []

function cloudApi(data: string): DeviceApi | undefined {
  try {
    return existsSync(cloudFile(data)) ? new DeviceApi(cloudEndpoint(data)) : undefined
  } catch {
    return undefined
  }
}

async function look(api: DeviceApi | undefined, where: string, signal: AbortSignal): Promise<Side | undefined> {
  if (api === undefined) return undefined
  const place = api.endpoint.kind === 'https' ? api.endpoint.url : where
  try {
    return { reachable: true, where: place, devices: await api.devices(signal) }
  } catch (thrown) {
    if (signal.aborted) throw thrown
    return { reachable: false, where: place, trouble: toSluiceError(thrown).message, devices: [] }
  }
}

const brief = (side: Side | undefined) =>
  side === undefined
    ? null
    : {
        reachable: side.reachable,
        where: side.where,
        ...(side.trouble === undefined ? {} : { trouble: side.trouble }),
        devices: side.devices.length,
        online: side.devices.filter(({ state }) => state === 'online').length,
      }

interface Seen {
  readonly agent: Side | undefined
  readonly cloud: Side | undefined
  /** The agent's link to its hub; null without one, undefined when nobody could say. */
  readonly hub: HubLinkView | null | undefined
  readonly links: readonly LinkStats[]
  readonly gateways: readonly GatewayView[]
}

function hubLine(hub: HubLinkView | null, style: Style): string {
  const label = padEnd('hub link', 12)
  if (hub === null) return `${style.dim('○')} ${label}this gateway has not joined a cloud core`
  if (hub.connected) return `${style.green('●')} ${label}${printable(hub.url)}, connected`
  const why = hub.reason === undefined ? 'not connected yet' : hub.reason
  return `${style.red('●')} ${label}${printable(hub.url)}, ${printable(why)}`
}

/** More gateways than this are a table of their own: `kubectl get gateways`. */
const MAX_GATEWAYS = 10

function gatewayLines(gateways: readonly GatewayView[], style: Style): string[] {
  return gateways.slice(0, MAX_GATEWAYS).flatMap(({ name, status: told }) => {
    const words = vitalLine(told)
    const alerts = (told.conditions ?? []).filter(({ type, status: is }) => is === 'True' && ALERTS.has(type))
    const mark = alerts.length > 0 ? style.yellow('●') : style.green('●')
    return words === '' ? [] : [`${mark} ${padEnd('power, link', 12)}${printable(name)}: ${printable(words)}`]
  })
}

const ALERTS: ReadonlySet<string> = new Set(['BatteryLow', 'LinkDegraded', 'Throttled'])

function statusLines({ agent, cloud, hub, links, gateways }: Seen, style: Style): string[] {
  const side = (name: string, value: Side | undefined): string => {
    const label = padEnd(name, 12)
    if (value === undefined) return `${style.dim('○')} ${label}not kept in this folder`
    if (!value.reachable) return `${style.red('●')} ${label}${printable(value.trouble ?? 'not reachable')}`
    const online = value.devices.filter(({ state }) => state === 'online').length
    return `${style.green('●')} ${label}${printable(value.where)}, ${online} of ${value.devices.length} devices online`
  }
  return [
    side('agent', agent),
    side('cloud core', cloud),
    ...(hub === undefined ? [] : [hubLine(hub, style)]),
    ...gatewayLines(gateways, style),
    ...links.map((link) => {
      const mark = link.state === 'up' ? style.green('●') : link.state === 'idle' ? style.dim('○') : style.red('●')
      const errors = Object.entries(link.errors).filter(([, count]) => count > 0)
      const trouble =
        errors.length === 0 ? '' : `, errors: ${errors.map(([kind, count]) => `${kind} ${count}`).join(', ')}`
      const why = link.reason === undefined ? '' : `, ${link.reason}`
      const devices = `${link.devices} device${link.devices === 1 ? '' : 's'}`
      return `${mark} ${printable(`${link.link}: ${link.state}, ${devices}, ${percent(link.use)} busy${why}${trouble}`)}`
    }),
  ]
}
