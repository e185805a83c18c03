import { existsSync, readFileSync, statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { EspLine } from '../../firmware/tools/flash/esp-runner.ts'
import type { OpenLine } from '../../firmware/tools/flash/runner.ts'

const unreachable = (where: string, cause: unknown): SluiceError =>
  new SluiceError(
    'SLUICE_FW_FLASH_TARGET',
    `${where} cannot be opened: ${cause instanceof Error ? cause.message : cause}`,
    {
      cause,
      hint: 'Is the board plugged in, and does nobody else have the port? "sluice doctor" shows the serial ports.',
    },
  )

/** A serial port. AN3155 wants even parity; ESP boards wire DTR and RTS to reset and boot pin. */
export async function openSerial(path: string, baud: number, parity: 'none' | 'even'): Promise<EspLine> {
  const { SerialPort } = await import('serialport')
  const port = new SerialPort({ path, baudRate: baud, parity, autoOpen: false })
  await new Promise<void>((resolve, reject) => {
    port.open((error) => (error ? reject(unreachable(path, error)) : resolve()))
  })
  let lost: Error | undefined
  port.on('error', (error) => (lost ??= error))
  port.on('close', (error?: Error) => (lost ??= error ?? new Error('it was closed')))
  const settled = (act: (done: (error?: Error | null) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => act((error) => (error ? reject(error) : resolve())))
  return {
    // The library would queue what is written to a port that is gone, and never call back.
    write: (bytes) =>
      lost === undefined ? settled((done) => port.write(Buffer.from(bytes), done)) : Promise.reject(gone(path, lost)),
    onData: (listener) => {
      port.on('data', listener)
      return () => void port.off('data', listener)
    },
    setLines: ({ dtr, rts }) => settled((done) => port.set({ dtr, rts }, done)),
    setBaud: (baudRate) => settled((done) => port.update({ baudRate }, done)),
    [Symbol.asyncDispose]: () => new Promise((resolve) => port.close(() => resolve())),
  }
}

const gone = (path: string, cause: unknown): SluiceError =>
  new SluiceError('SLUICE_FW_FLASH_LOST', `${path} went away: ${cause instanceof Error ? cause.message : cause}`, {
    cause,
    hint: 'Plug the board in again and type the command once more: an update goes on where it was, anything else begins anew.',
  })

/** A debugger's server: `host:port`, or the path of a Unix socket. */
export async function openSocket(where: string): Promise<OpenLine> {
  const match = /^(.*):(\d{1,5})$/.exec(where)
  const socket: Socket =
    match === null ? connect(where) : connect(Number(match[2]), match[1] === '' ? 'localhost' : match[1]!)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', (error) => reject(unreachable(where, error)))
  })
  socket.on('error', () => {})
  return {
    write: (bytes) => void socket.write(bytes),
    onData: (listener) => {
      socket.on('data', listener)
      return () => void socket.off('data', listener)
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
    },
  }
}

/** The drive of a board that waits for a UF2 file, among what is mounted. */
export function findUf2Drive(): string | undefined {
  const mounts = existsSync('/proc/mounts') ? readFileSync('/proc/mounts', 'utf8') : ''
  return mounts
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replace(/\\040/g, ' '))
    .find(
      (folder) =>
        folder.startsWith('/') && !/^\/(proc|sys|dev)\b/.test(folder) && existsSync(join(folder, 'INFO_UF2.TXT')),
    )
}

export const RUNNERS = ['smp', 'gdb', 'uf2', 'stm32', 'esp', 'dfu', 'openocd'] as const
export type RunnerName = (typeof RUNNERS)[number]

/** Which runner a port calls for. */
export function runnerFor(port: string): RunnerName {
  if (existsSync(port) && statSync(port).isDirectory()) return 'uf2'
  if (/:\d+$/.test(port) || (existsSync(port) && statSync(port).isSocket())) return 'gdb'
  return 'smp'
}
