import { SluiceError } from '../../api/errors.ts'
import type { GatewayView } from '../../api/views.ts'
import { connectionFor, connectionStatus, short } from './gateways.ts'
import type { Message, NodeConfig, NodeStatus, Red, RedNode } from './red.ts'
import { connectedOrThrow } from './target.ts'

const messageOf = (view: GatewayView): Message => ({
  topic: view.name,
  payload: { state: view.state, ...view.status },
})

/** Battery, power, networks and link of gateways: as they change, and on each message that comes in. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-gateway-status', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    const wanted = typeof config['of'] === 'string' ? config['of'].trim() : ''
    const isWanted = ({ name }: GatewayView) => wanted === '' || wanted === name
    const sent = new Map<string, string>()
    let shown: NodeStatus | undefined
    const show = () => {
      const known = wanted === '' || [...connection.gateways].some(isWanted)
      const missing = { fill: 'red', shape: 'dot', text: 'status.noGateway' } as const
      this.status(connectionStatus(connection, known ? shown : missing))
    }
    const leave = connection.subscribe(this.id, {
      state: show,
      gateway: (view) => {
        const text = JSON.stringify(view)
        if (!isWanted(view) || sent.get(view.name) === text) return
        sent.set(view.name, text)
        shown = { fill: 'green', shape: 'dot', text: short(statusText(view)) }
        show()
        this.send(messageOf(view))
      },
    })
    this.on('input', (message, send, done) => {
      try {
        connectedOrThrow(connection)
        const views = [...connection.gateways].filter(isWanted)
        if (views.length === 0) {
          throw new SluiceError('SLUICE_NODERED_NO_GATEWAY', `there is no gateway ${wanted}`, {
            hint: 'Pick one in the node, or leave it open.',
          })
        }
        for (const view of views) send({ ...message, ...messageOf(view) })
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

/** `81 % 4.2 W`, as far as it is known. */
function statusText({ name, status }: GatewayView): string {
  const battery = status.battery?.percent === undefined ? [] : [`${Math.round(status.battery.percent)} %`]
  const power = status.power === undefined ? [] : [`${status.power.watts.toFixed(1)} W`]
  return battery.length + power.length === 0 ? name : [...battery, ...power].join(' ')
}
