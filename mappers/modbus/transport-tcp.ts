import { connect } from 'node:net'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { ByteTransport, OpenTransport } from './transport.ts'

const keepAliveMs = 15_000
/** All links read into this one: a chunk is only valid during the call that hands it over, and calls do not overlap. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

/** Connects without Nagle's delay and with keep-alive. A busy link makes no garbage. */
export function openTcpTransport(
  options: { readonly host: string; readonly port: number; readonly connectTimeoutMs?: number },
  clock: Clock,
): OpenTransport {
  const { host, port, connectTimeoutMs = 5000 } = options
  return (signal) =>
    new Promise<ByteTransport>((resolve, reject) => {
      let onData: ((chunk: Uint8Array) => void) | undefined
      let onClose: ((reason: SluiceError | undefined) => void) | undefined
      let problem: SluiceError | undefined
      const callback = (length: number, buffer: Uint8Array) => {
        onData?.(buffer.subarray(0, length))
        return true
      }
      const socket = connect({
        host,
        port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: keepAliveMs,
        onread: { buffer: readBuffer, callback },
      })
      const give = (reason: SluiceError) => {
        problem = reason
        socket.destroy()
      }
      const timer = clock.after(connectTimeoutMs, () => {
        give(connectError(host, port, `no connection within ${connectTimeoutMs} ms`, undefined))
      })
      const onAbort = () => give(connectError(host, port, 'given up', signal.reason))
      signal.addEventListener('abort', onAbort, { once: true })
      socket.on('error', (error) => {
        problem ??= connectError(host, port, error.message, error)
      })
      const settled = () => {
        timer.cancel()
        signal.removeEventListener('abort', onAbort)
      }
      socket.once('close', () => {
        settled()
        reject(problem)
        onClose?.(problem)
      })
      socket.once('connect', () => {
        settled()
        resolve({
          write: (bytes) => void socket.write(Buffer.from(bytes)),
          onData: (listener) => void (onData = listener),
          onClose: (listener) => void (onClose = listener),
          close: () => socket.destroy(),
        })
      })
    })
}

function connectError(host: string, port: number, what: string, cause: unknown): SluiceError {
  return new SluiceError('SLUICE_MODBUS_CONNECT', `cannot talk to ${host}:${port}: ${what}`, {
    hint: 'Check address, port and firewall, and whether the device has a free connection left (many allow one to eight).',
    ...(cause === undefined ? {} : { cause }),
  })
}
