import { systemClock } from '../../../../api/clock.ts'
import { ContainerdRuntime } from './runtime.ts'

/** An agent in the middle of a start, to be killed: socket, folder, control group, container. */
const [socket = '', folder = '', cgroupBase = '', container = ''] = process.argv.slice(2)
const signal = AbortSignal.timeout(60_000)
await using runtime = await ContainerdRuntime.open(
  { socket, owner: 'gw-1', folder, clock: systemClock, cgroupBase },
  signal,
)
await runtime.startContainer(container, signal)
