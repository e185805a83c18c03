import { SluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import { endStatus, onOutput, type WriteResult, waitMs, writeDesired } from './desired.ts'
import { connectionFor, connectionStatus } from './gateways.ts'
import { topicOf } from './message.ts'
import type { Message, NodeConfig, NodeStatus, Red, RedNode } from './red.ts'
import { deviceOf, targetOf } from './target.ts'

/** The values of a method's properties, from an object, or from a single value when the method has one property. */
export function methodValues(name: string, properties: readonly string[], message: Message): Record<string, Json> {
  const { payload } = message
  if (typeof payload === 'object' && payload !== null && !Array.isArray(payload)) {
    const given = payload as Record<string, Json>
    const missing = properties.filter((property) => given[property] === undefined || given[property] === null)
    const unknown = Object.keys(given).filter((property) => !properties.includes(property))
    if (missing.length === 0 && unknown.length === 0) return given
    const what = missing.length > 0 ? `misses ${missing.join(', ')}` : `has ${unknown.join(', ')} beside its properties`
    throw new SluiceError('SLUICE_NODERED_METHOD_VALUES', `the payload for method '${name}' ${what}`, {
      hint: `Send an object with ${properties.join(', ')}.`,
    })
  }
  const [only] = properties
  if (properties.length === 1 && only !== undefined && payload !== undefined) return { [only]: payload as Json }
  throw new SluiceError('SLUICE_NODERED_METHOD_VALUES', `method '${name}' needs an object as payload`, {
    hint: `Send an object with ${properties.join(', ')}.`,
  })
}

/** Calls a method of a device: sets its properties together and waits until all have ended. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-method', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    let last: NodeStatus | undefined
    const show = () => this.status(connectionStatus(connection, last, { device: config['device'] }))
    const leave = connection.subscribe(this.id, { state: show })
    this.on('input', (message, send, done) => {
      void (async () => {
        try {
          const target = targetOf({ ...config, property: '-' }, message)
          const device = deviceOf(connection, target)
          const model = connection.models.get(`${device.namespace}/${device.model}`)
          const method = model?.spec.methods?.find(({ name }) => name === config['method'])
          if (method === undefined) {
            const names = model?.spec.methods?.map(({ name }) => name).join(', ') || 'none'
            throw new SluiceError('SLUICE_NODERED_NO_METHOD', `${device.name} has no method '${config['method']}'`, {
              hint: `Its model has: ${names}.`,
            })
          }
          const values = methodValues(method.name, method.properties, message)
          const options = { by: `node-red:${method.name}`.slice(0, 128), waitMs: waitMs(config) }
          const results: Record<string, WriteResult> = {}
          await Promise.all(
            Object.entries(values).map(async ([property, value]) => {
              results[property] = await writeDesired(connection, target.device, property, value, options)
            }),
          )
          const ends = Object.values(results).map(({ end }) => end)
          const end = ends.find((one) => one === 'rejected') ?? ends.find((one) => one === 'timedOut') ?? 'applied'
          last = endStatus(end)
          show()
          message.topic = topicOf(device, method.name)
          message['write'] = { device: target.device, method: method.name, end, results }
          send(onOutput(message, end))
          done()
        } catch (thrown) {
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
