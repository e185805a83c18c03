import type { Clock } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import type { StreamEvent } from '../../api/views.ts'
import type { GatewayBroker, SessionHooks } from '../broker/gateway-broker.ts'
import type { MqttOptions } from '../broker/service.ts'
import type { Log } from '../log.ts'
import { mapperStorage } from '../mappers/storage.ts'
import type { Store } from '../store/store.ts'
import type { DeviceState } from '../twin/device-state.ts'
import { Northbound } from './northbound.ts'
import { SparkplugEdgeNode } from './sparkplug-edge-node.ts'

export interface NorthboundDeps {
  readonly clock: Clock
  readonly log: Log
  readonly gateway: string
  readonly store: Store
  readonly devices: ReadonlyMap<string, DeviceState>
  readonly desire: (key: string, property: string, value: Json, by: string) => void
}

export interface PreparedNorthbound {
  /** What a connection to a broker on the network needs before it is made. */
  readonly hooks: SessionHooks
  attach(broker: GatewayBroker): RunningNorthbound
}

export interface RunningNorthbound extends AsyncDisposable {
  event(event: StreamEvent): void
}

/** Twins on the broker, ready to be attached when it runs. */
export function prepareNorthbound(options: MqttOptions, deps: NorthboundDeps): PreparedNorthbound {
  const { clock, log, gateway, store, devices } = deps
  const group = options.sparkplugGroup
  const storage = mapperStorage(store, 'northbound')
  const sparkplug =
    group === undefined
      ? undefined
      : new SparkplugEdgeNode({
          clock,
          group,
          gateway,
          ...(options.sparkplugHost === undefined ? {} : { primaryHost: options.sparkplugHost }),
          devices,
          storage: {
            get: () => (storage.get('bdSeq') === undefined ? undefined : Number(storage.get('bdSeq'))),
            put: (bdSeq) => storage.put({ bdSeq: String(bdSeq) }, 'now'),
          },
          desire: (key, property, value) => deps.desire(key, property, value, 'sparkplug'),
        })
  let attached: GatewayBroker | undefined
  return {
    hooks:
      sparkplug === undefined
        ? {}
        : {
            will: () => sparkplug.nextWill(),
            connected: () => attached !== undefined && sparkplug.connected(attached.local),
          },
    attach(broker) {
      attached = broker
      const northbound = new Northbound({
        core: { devices, desire: deps.desire },
        broker,
        clock,
        log,
        gateway,
        ...(sparkplug === undefined ? {} : { sparkplug }),
      })
      // The agent's own broker ends with the agent: there is no connection that could be lost.
      if (options.external === undefined && sparkplug !== undefined) {
        sparkplug.nextWill()
        sparkplug.connected(broker.local)
      }
      return northbound
    },
  }
}
