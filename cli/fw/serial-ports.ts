import { existsSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'

/**
 * The port a board is on when nobody named one: the project's where it is there, else the only USB serial port.
 * SLUICE_FW_FLASH_TARGET names the ports to choose from.
 */
export async function findSerialPort(preferred: string): Promise<string> {
  if (existsSync(preferred)) return preferred
  const { SerialPort } = await import('serialport')
  const usb = (await SerialPort.list())
    .filter(({ vendorId, path }) => vendorId !== undefined || /\/tty(ACM|USB)\d+$/.test(path))
    .map(({ path }) => path)
  const [only, ...others] = usb
  if (only !== undefined && others.length === 0) return only
  throw new SluiceError(
    'SLUICE_FW_FLASH_TARGET',
    usb.length === 0 ? `there is no board: ${preferred} is not there, and no USB serial port` : 'which port is it on?',
    {
      hint:
        usb.length === 0
          ? 'Plug it in, or name its port with --port.'
          : `Name it with --port: ${usb.slice(0, 6).join(', ')}.`,
    },
  )
}
