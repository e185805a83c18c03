import { connectionFor, connectionStatus } from './gateways.ts'
import { topicOf, twinOf } from './message.ts'
import type { NodeConfig, Red, RedNode } from './red.ts'
import { deviceOf, targetOf, twinOfTarget } from './target.ts'

/** Answers each message with the twin as it is now; without a property with all values of the device. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-twin-get', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    const leave = connection.subscribe(this.id, {
      state: () => this.status(connectionStatus(connection, undefined, config)),
    })
    this.on('input', (message, send, done) => {
      try {
        const target = targetOf(config, message)
        const device = deviceOf(connection, target)
        if (config['property'] === '*' || target.property === '*' || target.property === '') {
          message.payload = Object.fromEntries(device.twins.map(({ name, value }) => [name, value]))
          message.topic = topicOf(device)
          message['twin'] = device
        } else {
          const twin = twinOfTarget(device, target.property)
          message.payload = twin.value
          message.topic = topicOf(device, twin.name)
          message['twin'] = twinOf(device, twin)
        }
        send(message)
        done()
      } catch (thrown) {
        done(thrown as Error)
      }
    })
    this.on('close', (_removed, done) => {
      leave()
      done()
    })
  })
}
