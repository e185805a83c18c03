import { connectionFor, connectionStatus, short } from './gateways.ts'
import { topicOf } from './message.ts'
import type { NodeConfig, NodeStatus, Red, RedNode } from './red.ts'
import { isAbout, twinFilter } from './twin-filter.ts'

/** Sends a message when a device goes online or offline, or tells of its link and battery; or when something new is discovered. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-device-event', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    const filter = twinFilter(config)
    const every = config['every'] === true
    const known = new Map<string, boolean>()
    let shown: NodeStatus | undefined
    const state = () => this.status(connectionStatus(connection, shown, config['kind'] === 'discovered' ? {} : config))
    if (config['kind'] === 'discovered') {
      const leave = connection.subscribe(this.id, {
        state,
        discovered: (found) => {
          this.send({ payload: found.model, topic: found.id, discovered: found })
          shown = { fill: 'blue', shape: 'dot', text: short(found.id) }
          state()
        },
      })
      this.on('close', (_removed, done) => {
        leave()
        done()
      })
      return
    }
    const leave = connection.subscribe(this.id, {
      state,
      device: (event, device) => {
        if (device === undefined || !isAbout(filter, device)) return
        const changed = known.get(event.device) !== event.online
        known.set(event.device, event.online)
        if (!changed && !every) return
        const { kind: _, device: __, ...rest } = event
        const payload = event.online ? 'online' : 'offline'
        this.send({ payload, topic: topicOf(device), event: { ...rest, changed }, device })
        shown = { fill: event.online ? 'green' : 'red', shape: 'dot', text: short(device.name) }
        state()
      },
    })
    this.on('close', (_removed, done) => {
      leave()
      done()
    })
  })
}
