import type { GatewayHost } from '../sdk/mapper.ts'
import type { RateLimitedLog } from '../sdk/rate-limited-log.ts'
import { DEFAULT_UDP_PORT, type LoraDevice, plainEui, settingsOf } from './device-config.ts'
import { ForeignNetwork } from './foreign-network.ts'
import type { Network, NetworkEvents } from './network.ts'
import type { ListenOptions } from './schema.ts'

/** A network as some devices want it. */
export interface NetworkPlan {
  readonly id: string
  /** What makes it another network: when this changes, it is opened anew. */
  readonly signature: string
  readonly devices: readonly LoraDevice[]
  readonly listen: ListenOptions | undefined
}

export interface Planned {
  readonly networks: ReadonlyMap<string, NetworkPlan>
  readonly conflicts: ReadonlyMap<string, string>
}

/** Sorts devices by network; who disagrees with the first (by name) about a shared one is refused. */
export function planNetworks(devices: readonly LoraDevice[]): Planned {
  const networks = new Map<string, { first: LoraDevice; listen: ListenOptions | undefined; devices: LoraDevice[] }>()
  const conflicts = new Map<string, string>()
  const addresses = new Map<string, string>()
  for (const device of devices.toSorted((a, b) => (a.key < b.key ? -1 : 1))) {
    const { id } = device.network
    const listen = device.network.kind === 'local' ? device.network.listen : undefined
    const known = networks.get(id)
    const double = addresses.get(`${id} ${device.devEui}`)
    if (double !== undefined) {
      conflicts.set(device.key, `DevEUI ${device.devEui} is that of ${double} already`)
    } else if (known !== undefined && settingsOf(known.first) !== settingsOf(device)) {
      conflicts.set(
        device.key,
        `its region, sub-band or broker settings differ from those of ${known.first.key}, which shares ${id}`,
      )
    } else if (
      known?.listen !== undefined &&
      listen !== undefined &&
      JSON.stringify(known.listen) !== JSON.stringify(listen)
    ) {
      conflicts.set(device.key, `listen differs from that of another device on the same network server`)
    } else {
      addresses.set(`${id} ${device.devEui}`, device.key)
      if (known === undefined) networks.set(id, { first: device, listen, devices: [device] })
      else {
        known.devices.push(device)
        known.listen ??= listen
      }
    }
  }
  const plans = [...networks].map(([id, { first, listen, devices: members }]): [string, NetworkPlan] => [
    id,
    { id, signature: `${settingsOf(first)} ${JSON.stringify(listen ?? null)}`, devices: members, listen },
  ])
  return { networks: new Map(plans), conflicts }
}

/** A network and, for our own server, whether it could start. */
export interface OpenedNetwork {
  readonly network: Network
  /** Rejects when it cannot listen. */
  readonly ready: Promise<void>
}

export type OpenNetwork = (
  plan: NetworkPlan,
  host: GatewayHost,
  events: NetworkEvents,
  log: RateLimitedLog,
) => Promise<OpenedNetwork>

export const openNetwork: OpenNetwork = async (plan, host, events, log) => {
  const { network, region, subBand } = plan.devices[0]!
  if (network.kind !== 'local') {
    const dialect =
      network.kind === 'chirpstack' ? (await import('./chirpstack.ts')).chirpstack : (await import('./tts.ts')).tts
    const username = network.options.username ?? (network.kind === 'tts' ? network.options.application : undefined)
    return {
      network: new ForeignNetwork(host, dialect, { ...network.options, username }, events, log),
      ready: Promise.resolve(),
    }
  }
  const listen = plan.listen ?? {}
  const gateways = listen.gateways === undefined ? undefined : new Set(listen.gateways.map(plainEui))
  const shared = { host: listen.host ?? '127.0.0.1', ...(gateways === undefined ? {} : { gateways }) }
  const { NetworkServer } = await import('./server/network-server.ts')
  const { UdpBackend } = await import('./server/udp-backend.ts')
  const station = listen.station === undefined ? undefined : await import('./server/station-backend.ts')
  const server = new NetworkServer(
    host,
    {
      region,
      listen,
      open: (eventsOf) => {
        const udp: InstanceType<typeof UdpBackend> = new UdpBackend(
          { ...shared, port: listen.udp ?? DEFAULT_UDP_PORT },
          host.clock,
          eventsOf(() => udp),
        )
        if (station === undefined) return [udp]
        const ws: InstanceType<typeof station.StationBackend> = new station.StationBackend(
          { ...shared, port: listen.station!, region, subBand },
          host.clock,
          eventsOf(() => ws),
        )
        return [udp, ws]
      },
    },
    events,
    log,
  )
  const ready = Promise.all(server.backends.map(({ listening }) => listening)).then((places) => {
    const where = places.map(({ host: name, port }) => `${name}:${port}`).join(' and ')
    host.log('info', `lora: network server for ${region.name} listens on ${where}`)
  })
  return { network: server, ready }
}
