import { connectionFor, connectionStatus, short } from './gateways.ts'
import { changeMessage } from './message.ts'
import type { NodeConfig, Red, RedNode } from './red.ts'
import { TwinGate, twinFilter } from './twin-filter.ts'

/** Under a busy node the status would change a thousand times a second; people read it twice. */
const STATUS_EVERY_MS = 500

/** Sends a message for each change of the twins it is configured for. */
export function register(RED: Red): void {
  RED.nodes.registerType('sluice-twin-in', function (this: RedNode, config: NodeConfig) {
    RED.nodes.createNode(this, config)
    const connection = connectionFor(RED, this, config)
    if (connection === undefined) return
    const filter = twinFilter(config)
    const gate = new TwinGate(filter)
    let shown = ''
    let shownMs = 0
    let pending: NodeJS.Timeout | undefined
    const show = () => {
      pending = undefined
      shownMs = Date.now()
      const idle = shown === '' ? undefined : ({ fill: 'green', shape: 'dot', text: shown } as const)
      this.status(connectionStatus(connection, idle, config))
    }
    const leave = connection.subscribe(this.id, {
      state: show,
      twin: (change) => {
        if (!gate.passes(change)) return
        const message = changeMessage(change, filter.trigger)
        const unit = change.twin.unit === undefined || filter.trigger !== 'reported' ? '' : ` ${change.twin.unit}`
        shown = short(
          `${typeof message.payload === 'object' ? JSON.stringify(message.payload) : message.payload}${unit}`,
        )
        pending ??= setTimeout(show, Math.max(0, shownMs + STATUS_EVERY_MS - Date.now()))
        this.send(message)
      },
    })
    this.on('close', (_removed, done) => {
      clearTimeout(pending)
      leave()
      done()
    })
  })
}
