import { SluiceError } from '../../api/errors.ts'
import type { GatewayConnection } from './connection.ts'
import type { NodeConfig, NodeStatus, Red, RedNode } from './red.ts'
import { fullKey } from './twin-filter.ts'

const connections = globalConnections()

/**
 * Each node type is a file of its own with its own copy of this code: the connections are shared through the process.
 * A well-known symbol makes it the same map in all of them.
 */
function globalConnections(): WeakMap<object, GatewayConnection> {
  const shared = globalThis as { [key: symbol]: unknown }
  const key = Symbol.for('sluice.node-red.connections')
  return (shared[key] ??= new WeakMap<object, GatewayConnection>()) as WeakMap<object, GatewayConnection>
}

export function registerConnection(node: RedNode, connection: GatewayConnection): () => void {
  connections.set(node, connection)
  return () => void connections.delete(node)
}

export const connectionOf = (node: object): GatewayConnection | undefined => connections.get(node)

/** The connection a node was configured with; without one the node says so, and what comes in is an error. */
export function connectionFor(RED: Red, node: RedNode, config: NodeConfig): GatewayConnection | undefined {
  const gateway = config.gateway === undefined ? null : RED.nodes.getNode(config.gateway)
  const connection = gateway === null ? undefined : connectionOf(gateway)
  if (connection !== undefined) return connection
  node.status({ fill: 'red', shape: 'ring', text: 'status.none' })
  node.on('input', (_message, _send, done) => {
    done(
      new SluiceError('SLUICE_NODERED_NOT_CONNECTED', 'the node has no gateway, or one that cannot be used', {
        hint: 'Pick one in the node, and look at what the log says of it.',
      }),
    )
  })
  return undefined
}

const MAX_STATUS = 20

/** A status text that fits under a node. */
export const short = (text: string): string => (text.length <= MAX_STATUS ? text : `${text.slice(0, MAX_STATUS - 1)}…`)

/** Somebody answers, and does not let this node in. */
const REFUSED: ReadonlySet<string> = new Set([
  'SLUICE_CLIENT_FORBIDDEN',
  'SLUICE_CLIENT_PERMISSION',
  'SLUICE_API_FORBIDDEN',
  'SLUICE_API_TOKEN',
  'SLUICE_API_UNAUTHENTICATED',
])

/**
 * Ring while there is no connection, dot with one; `connected` is what a node shows then by itself, unless the device or
 * the property it names is not there.
 */
export function connectionStatus(
  connection: GatewayConnection,
  connected: NodeStatus = { fill: 'green', shape: 'dot', text: 'status.connected' },
  config: Readonly<Record<string, unknown>> = {},
): NodeStatus {
  const { state } = connection
  if (state.is === 'connecting') return { fill: 'yellow', shape: 'ring', text: 'status.connecting' }
  if (state.is === 'lost') {
    return { fill: 'red', shape: 'ring', text: REFUSED.has(state.code) ? 'status.refused' : 'status.lost' }
  }
  const { device, property } = config
  if (typeof device !== 'string' || device.trim() === '') return connected
  const view = connection.devices.get(fullKey(device.trim()))
  if (view === undefined) return { fill: 'red', shape: 'dot', text: 'status.noDevice' }
  if (typeof property !== 'string' || property === '' || property === '*') return connected
  if (view.twins.some(({ name }) => name === property)) return connected
  return { fill: 'red', shape: 'dot', text: 'status.noProperty' }
}
