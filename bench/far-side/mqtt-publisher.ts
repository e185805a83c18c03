import { publishSteadily } from './mqtt-load.ts'

/** Publishes on demand, in a process of its own. */
process.send?.({ ready: true })
process.on('message', (message: { port: number; devices: number; perSecond: number | null; durationMs: number }) => {
  const { port, devices, perSecond, durationMs } = message
  // JSON has no infinity.
  publishSteadily(port, devices, perSecond ?? Number.POSITIVE_INFINITY, durationMs).then(
    (sent) => process.send?.({ sent }),
    () => process.exit(1),
  )
})
process.once('disconnect', () => process.exit(0))
