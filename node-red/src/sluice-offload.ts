import { SluiceError } from '../../api/errors.ts'
import { connectionFor, connectionStatus, short } from './gateways.ts'
import type { Message, NodeConfig, NodeStatus, Red, RedNode } from './red.ts'

const text = (value: unknown): string => (typeof value === 'string' ? value.trim() : '')

/** `namespace/name` of the node, else of `msg.pod`, else of `msg.topic`; `default/` may be left out. */
function podOf(config: NodeConfig, message: Message): string {
  const said = text(config['pod']) || text(message['pod']) || text(message.topic)
  if (said === '' || said.split('/').length > 2) {
    throw new SluiceError(
      'SLUICE_NODERED_NO_POD',
      said === '' ? 'neither the node nor the message names a pod' : `'${said}' is no pod`,
      {
        hint: 'Pick one in the node, or give msg.pod as namespace/name.',
      },
    )
  }
  return said.includes('/') ? said : `default/${said}`
}

function gatewayOf(config: NodeConfig, message: Message): string {
  const said = text(config['of']) || text(message.payload)
  if (said !== '') return said
  throw new SluiceError('SLUICE_NODERED_NO_TARGET', 'neither the node nor the message names a gateway', {
    hint: 'Pick one in the node, or give its name as msg.payload.',
  })
}

/** Has a pod moved to a gateway, where the connection leads to a cloud core. What speaks against it comes out of the second output. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-offload', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    let last: NodeStatus | undefined
    const idle: NodeStatus | undefined =
      connection.api.endpoint.kind === 'https' ? undefined : { fill: 'yellow', shape: 'dot', text: 'status.noCloud' }
    const show = () => this.status(connectionStatus(connection, last ?? idle))
    const leave = connection.subscribe(this.id, { state: show })
    this.on('input', (message, send, done) => {
      void (async () => {
        try {
          const pod = podOf(config, message)
          const to = gatewayOf(config, message)
          const answer = await connection.offload(pod, to)
          const { refused } = answer
          last =
            refused === undefined
              ? { fill: 'green', shape: 'dot', text: short(`→ ${to}`) }
              : { fill: 'red', shape: 'dot', text: 'status.rejected' }
          show()
          message['offload'] = { pod, to, ...(refused === undefined ? {} : { reason: refused }) }
          send(refused === undefined ? [message, null] : [null, message])
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
