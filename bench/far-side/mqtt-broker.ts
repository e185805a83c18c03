import { openEmbeddedBroker } from '../../agent/broker/embedded.ts'
import { createLog } from '../../agent/log.ts'
import { systemClock } from '../../api/clock.ts'

/** The agent's own broker in a process of its own, as a broker is measured beside another. */
const broker = await openEmbeddedBroker({ port: 0 }, { clock: systemClock, log: createLog({ level: 'error' }) })
process.send?.({ port: broker.port })
process.once('disconnect', () => process.exit(0))
