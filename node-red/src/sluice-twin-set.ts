import type { Json } from '../../api/resources.ts'
import { endStatus, onOutput, waitMs, writeDesired } from './desired.ts'
import { connectionFor, connectionStatus } from './gateways.ts'
import { topicOf } from './message.ts'
import type { NodeConfig, NodeStatus, Red, RedNode } from './red.ts'
import { deviceOf, targetOf, twinOfTarget } from './target.ts'

/** Sets a desired value from each message; its end comes out on one of three outputs. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-twin-set', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    let last: NodeStatus | undefined
    let writing = 0
    const show = () => {
      const busy = { fill: 'blue', shape: 'dot', text: 'status.writing' } as const
      this.status(connectionStatus(connection, writing > 0 ? busy : last, config))
    }
    const leave = connection.subscribe(this.id, { state: show })
    this.on('input', (message, send, done) => {
      void (async () => {
        try {
          const target = targetOf(config, message)
          const device = deviceOf(connection, target)
          twinOfTarget(device, target.property)
          writing++
          show()
          const value = message.payload as Json
          const by = `node-red${this.name === undefined || this.name === '' ? '' : `:${this.name}`}`
          const result = await writeDesired(connection, target.device, target.property, value, {
            by: by.slice(0, 128),
            waitMs: waitMs(config),
          }).finally(() => writing--)
          last = endStatus(result.end)
          message.topic = topicOf(device, target.property)
          message['write'] = { ...target, value, ...result }
          show()
          send(onOutput(message, result.end))
          done()
        } catch (thrown) {
          show()
          if (connection.signal.aborted) done()
          else done(thrown as Error)
        }
      })()
    })
    this.on('close', (_removed, done) => {
      leave()
      done()
    })
  })
}
