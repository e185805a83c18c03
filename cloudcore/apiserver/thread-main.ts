import { parentPort, workerData } from 'node:worker_threads'
import { toSluiceError } from '../../api/errors.ts'
import { startApiServer } from './server.ts'
import type { ApiThreadOptions, ThreadError, ThreadMessage } from './thread.ts'

/** Runs the embedded API for `startApiThread`, until it is told to stop. */
const say = (message: ThreadMessage): void => parentPort?.postMessage(message)

function plain(thrown: unknown): ThreadError {
  const { code, message, hint } = toSluiceError(thrown)
  return { code, message, ...(hint === undefined ? {} : { hint }) }
}

try {
  const options = workerData as ApiThreadOptions
  const server = await startApiServer({ ...options, onError: (error) => say({ t: 'trouble', error: plain(error) }) })
  parentPort?.once('message', () => void server[Symbol.asyncDispose]().then(() => parentPort?.close()))
  say({ t: 'ready', url: server.url, port: server.port, setAside: server.setAside })
} catch (thrown) {
  say({ t: 'failed', error: plain(thrown) })
  parentPort?.close()
}
