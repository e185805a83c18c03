import { close, constants, open } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { ReadStream } from 'node:tty'
import { promisify } from 'node:util'
import type { Clock } from '../../api/clock.ts'
import { delay } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { SerialSessionOptions } from './session.ts'
import type { ByteTransport, OpenTransport } from './transport.ts'

const openFile = promisify(open)
const closeFile = promisify(close)
const byIdFolder = '/dev/serial/by-id'

/** What is used of serialport's binding; its `fd` is not in the published types of every platform. */
interface SerialBinding {
  close(): Promise<void>
  drain(): Promise<void>
  set(flags: { rts?: boolean; dtr?: boolean; lowLatency?: boolean }): Promise<void>
}

/**
 * Opens a serial port. The `serialport` binding sets the line up and holds the lock; the bytes go through a second
 * descriptor on the event loop, because the binding reads in its thread pool (a millisecond of delay under load) and
 * spins for ever on a port that was unplugged.
 */
export function openSerialTransport(options: SerialSessionOptions, clock: Clock): OpenTransport {
  return async (signal) => {
    const binding = await openBinding(options)
    try {
      signal.throwIfAborted()
      // FTDI adapters hold bytes back for 16 ms unless told otherwise; others refuse, and need not care.
      await binding.set({ lowLatency: true, dtr: true, rts: options.rtsMode !== 'up' }).catch(() => undefined)
      const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK
      return transportOf(options, clock, binding, await openFile(options.path, flags))
    } catch (thrown) {
      await binding.close().catch(() => undefined)
      throw await openError(options.path, thrown)
    }
  }
}

async function openBinding(options: SerialSessionOptions): Promise<SerialBinding> {
  try {
    const { SerialPort } = await import('serialport')
    return await SerialPort.binding.open({
      path: options.path,
      baudRate: options.baud,
      dataBits: options.dataBits ?? 8,
      parity: options.parity ?? 'none',
      stopBits: options.stopBits ?? 1,
      lock: true,
    })
  } catch (thrown) {
    throw await openError(options.path, thrown)
  }
}

function transportOf(options: SerialSessionOptions, clock: Clock, binding: SerialBinding, fd: number): ByteTransport {
  let onClose: ((reason: SluiceError | undefined) => void) | undefined
  let problem: SluiceError | undefined
  let closed = false
  const stream = ttyStream(fd, binding)
  const shut = (reason: SluiceError | undefined) => {
    if (closed) return
    closed = true
    problem = reason
    stream.destroy()
    binding.close().then(
      () => onClose?.(problem),
      () => onClose?.(problem),
    )
  }
  stream.on('error', (error) => shut(goneError(options.path, error)))
  stream.on('end', () => shut(goneError(options.path, undefined)))
  stream.on('close', () => shut(goneError(options.path, undefined)))
  const direction = rtsDirection(options, clock, binding, (thrown) => shut(goneError(options.path, thrown)))
  return {
    write: (bytes) => void stream.write(bytes),
    onData: (listener) => void stream.on('data', listener),
    onClose: (listener) => void (onClose = listener),
    close: () => shut(undefined),
    ...(direction === undefined ? {} : { direction }),
  }
}

function ttyStream(fd: number, binding: SerialBinding): ReadStream {
  try {
    return new ReadStream(fd)
  } catch (thrown) {
    void closeFile(fd)
    void binding.close().catch(() => undefined)
    throw thrown
  }
}

/** RS-485 transceivers without automatic direction: RTS says who sends. */
function rtsDirection(
  options: SerialSessionOptions,
  clock: Clock,
  binding: SerialBinding,
  failed: (thrown: unknown) => void,
): ByteTransport['direction'] {
  const { rtsMode = 'none', rtsBeforeMs = 0, rtsAfterMs = 0 } = options
  if (rtsMode === 'none') return undefined
  const steer = async (sending: boolean) => {
    try {
      if (!sending) {
        await binding.drain()
        if (rtsAfterMs > 0) await delay(clock, rtsAfterMs)
      }
      await binding.set({ dtr: true, rts: sending === (rtsMode === 'up') })
      if (sending && rtsBeforeMs > 0) await delay(clock, rtsBeforeMs)
    } catch (thrown) {
      failed(thrown)
    }
  }
  return { send: () => steer(true), receive: () => steer(false) }
}

function goneError(path: string, cause: unknown): SluiceError {
  return new SluiceError('SLUICE_MODBUS_SERIAL_GONE', `the serial port ${path} went away`, {
    hint: 'Plug the adapter in again: it is found by itself, under its name in /dev/serial/by-id for certain.',
    ...(cause === undefined ? {} : { cause }),
  })
}

async function openError(path: string, thrown: unknown): Promise<SluiceError> {
  if (thrown instanceof SluiceError) return thrown
  // The library writes 'Error: No such file or directory, cannot open /dev/ttyUSB0'; the path is said already.
  const said = thrown instanceof Error ? thrown.message : String(thrown)
  const text = said.replace(/^Error: /, '').replace(/, cannot open .*$/, '')
  return new SluiceError('SLUICE_MODBUS_SERIAL_OPEN', `cannot open the serial port ${path}: ${text}`, {
    hint: await openHint(path, text),
    cause: thrown,
  })
}

async function openHint(path: string, text: string): Promise<string> {
  if (/permission/i.test(text))
    return 'Add the user to the group that owns the port, mostly dialout: usermod -aG dialout USER.'
  if (/lock|busy/i.test(text))
    return 'Another program holds the port, perhaps the agent of this gateway: end it, or give this one another port.'
  if (/Cannot find (package|module)/.test(text))
    return 'The optional package serialport is not installed: npm install serialport.'
  const known = await readdir(byIdFolder).catch(() => [])
  if (known.length === 0) return `No serial adapter is plugged in that ${byIdFolder} knows; is the path right?`
  const names = known.slice(0, 4).map((name) => `${byIdFolder}/${name}`)
  return path.startsWith(byIdFolder)
    ? `There are: ${names.join(', ')}.`
    : `Names that stay the same: ${names.join(', ')}.`
}
