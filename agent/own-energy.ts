import type { Clock } from '../api/clock.ts'
import { toSluiceError } from '../api/errors.ts'
import { isBad } from '../api/twin/quality.ts'
import type { LocalBroker } from '../mappers/sdk/mapper.ts'
import type { AgentCore } from './core.ts'
import { type DeviceLoad, type Energy, openEnergy, type TwinValue } from './energy/energy.ts'
import type { Log } from './log.ts'
import { mapperStorage } from './mappers/storage.ts'
import type { DeviceState } from './twin/device-state.ts'

export interface OwnEnergyOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly log: Log
  readonly broker: () => Promise<LocalBroker>
}

/** The gateway's own energy with everything of the agent that it can use: twins of meters, the broker, what the cloud says. */
export function openOwnEnergy({ core, clock, log, broker }: OwnEnergyOptions): Energy {
  const energy = openEnergy({
    clock,
    log,
    storage: mapperStorage(core.store, 'energy'),
    readTwin: (device, property, role) => twinValue(core.engine.devices.get(device), property, role),
    deviceLoads: () => [...core.engine.devices.values()].flatMap((device) => loadOf(device, core)),
    subscribe: (topic, listener) => subscribeLater(broker, topic, listener, log),
    ...(core.gatewaySpec?.energy === undefined ? {} : { config: core.gatewaySpec.energy }),
  })
  core.onGatewaySpec((spec) => energy.configure(spec?.energy))
  return energy
}

/** What a device cost the gateway so far: its requests' time on the link, its frames' time on the air, and its readings. */
function loadOf({ key, readings }: DeviceState, core: AgentCore): DeviceLoad[] {
  const load = core.mappers.load(key)
  return load === undefined ? [] : [{ ...load, device: key, reads: readings }]
}

/** A property by its name, or the first with the role. */
function twinValue(
  device: DeviceState | undefined,
  name: string | undefined,
  role: 'power' | 'energy' | 'battery',
): TwinValue | undefined {
  const definition = device?.model?.properties.find((each) =>
    name === undefined ? each.role === role : each.name === name,
  )
  if (device === undefined || definition === undefined) return undefined
  const { unit } = definition
  const reported = device.properties.get(definition.name)?.twin.reported
  if (reported === undefined)
    return { good: false, reason: 'nothing was read yet', ...(unit === undefined ? {} : { unit }) }
  const { value, atMs, quality, reason } = reported
  return {
    atMs,
    good: !isBad(quality) && quality !== 'stale',
    ...(value === undefined ? {} : { value }),
    ...(unit === undefined ? {} : { unit }),
    ...(reason === undefined ? {} : { reason }),
  }
}

/** The broker starts when the first one asks for it; who stops listening before that never begins. */
function subscribeLater(
  broker: () => Promise<LocalBroker>,
  topic: string,
  listener: (payload: Uint8Array) => void,
  log: Log,
): Disposable {
  let ended = false
  let subscription: Disposable | undefined
  broker().then(
    (local) => {
      if (!ended) subscription = local.subscribe(topic, (_, payload) => listener(payload))
    },
    (thrown: unknown) => log('warn', `${topic} cannot be listened to: ${toSluiceError(thrown).message}`),
  )
  return {
    [Symbol.dispose]() {
      ended = true
      subscription?.[Symbol.dispose]()
    },
  }
}
