import { realpathSync } from 'node:fs'
import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceConfig, LinkConfig } from './device-config.ts'

/** Which devices share which wire. */
export interface Sharing {
  readonly links: ReadonlyMap<string, LinkConfig>
  readonly members: ReadonlyMap<string, readonly DeviceConfig[]>
  /** Devices that want a wire others use in another way, and why they cannot have it. */
  readonly conflicts: ReadonlyMap<ObjectKey, string>
}

/** The port itself, whichever of its names is given; a port that is not there keeps the name. */
function realPort(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/**
 * Groups devices by wire. Two names of one serial port (`/dev/serial/by-id/...` and `/dev/ttyUSB0`) are one wire: two
 * masters on it would talk into each other's requests. A wire has one baud rate and one framing: those it runs with already stay as long as one device
 * wants them (`running`, by link id), otherwise the first device by name decides. Whoever wants others is left out.
 * Wishes that can be combined are: the longest pauses of all count.
 */
export function joinLinks(
  devices: readonly DeviceConfig[],
  running: ReadonlyMap<string, string>,
  real = realPort,
): Sharing {
  const byLink = Map.groupBy(
    [...devices].sort((a, b) => (a.key < b.key ? -1 : 1)),
    ({ link: { id, open } }) => (open.kind === 'serial' ? `serial:${real(open.options.path)}` : id),
  )
  const links = new Map<string, LinkConfig>()
  const members = new Map<string, readonly DeviceConfig[]>()
  const conflicts = new Map<ObjectKey, string>()
  for (const [id, sharers] of byLink) {
    const inForce = running.get(id)
    const leader = sharers.find((device) => device.link.settings === inForce) ?? sharers[0]!
    const { settings, name } = leader.link
    const fitting: DeviceConfig[] = []
    for (const device of sharers) {
      if (device.link.settings === settings) fitting.push(device)
      else
        conflicts.set(
          device.key,
          `${name} runs as ${settings} for ${leader.key}; this device wants ${device.link.settings}`,
        )
    }
    links.set(id, fitting.map((device) => device.link).reduce(combine))
    members.set(id, fitting)
  }
  return { links, members, conflicts }
}

function combine(a: LinkConfig, b: LinkConfig): LinkConfig {
  const merged = {
    pauseAfterConnectMs: Math.max(a.open.options.pauseAfterConnectMs ?? 0, b.open.options.pauseAfterConnectMs ?? 0),
    pauseBetweenRequestsMs: Math.max(
      a.open.options.pauseBetweenRequestsMs ?? 0,
      b.open.options.pauseBetweenRequestsMs ?? 0,
    ),
    ...(a.open.options.retryFirstRequest || b.open.options.retryFirstRequest ? { retryFirstRequest: true } : {}),
  }
  // One device that needs the connection closed is served so; the others do not mind.
  const idle = a.open.options.closeAfterIdleMs ?? b.open.options.closeAfterIdleMs
  const shared = { ...merged, ...(idle === undefined ? {} : { closeAfterIdleMs: idle }) }
  const open: LinkConfig['open'] =
    a.open.kind === 'serial'
      ? { kind: 'serial', options: { ...a.open.options, ...shared } }
      : { kind: 'tcp', options: { ...a.open.options, ...shared } }
  return { ...a, open }
}
