import { realpathSync, type Stats, statSync } from 'node:fs'
import { SluiceError } from '../../../api/errors.ts'
import type { DeviceMount } from '../runtimes/runtime.ts'
import type { DeviceRequests } from './requests.ts'

/** Names that the kernel gives to serial lines (Documentation/admin-guide/devices.txt), and to what radios hang on. */
const KINDS: Readonly<Record<'serial' | 'radio', RegExp>> = {
  serial: /^(tty(S|USB|ACM|AMA|O|SC|mxc|THS|XRUSB|GS|LP|PS|Sx|HS|rpmsg)\d+|rfcomm\d+)$/,
  radio: /^(spidev\d+\.\d+|gpiochip\d+|i2c-\d+|hidraw\d+|tty(S|USB|ACM|AMA)\d+)$/,
}

export interface NodeRules {
  /** What of the gateway uses this line itself: the device's key; a line has one master. */
  readonly usedBy: (realPath: string) => string | undefined
  /** `/dev`, or what stands for it in a test. */
  readonly root?: string
}

/**
 * The device nodes of a pod. Read and written, never made, and only what is a serial line or what a radio hangs on: neither a
 * disk nor memory is ever handed out. Throws `SLUICE_POD_DEVICE`.
 */
export function deviceNodes(
  nodes: DeviceRequests['nodes'],
  { usedBy, root = '/dev' }: NodeRules,
): (DeviceMount & { readonly group: number })[] {
  return nodes.map(({ path, kind }) => {
    const asked = root + path.slice('/dev'.length)
    let real: string
    let stat: Stats
    try {
      real = realpathSync(asked)
      stat = statSync(real)
    } catch {
      throw new SluiceError('SLUICE_POD_DEVICE', `This gateway has no ${path}`, {
        hint: 'Plug it in, or correct the annotation; the pod goes on by itself.',
      })
    }
    const name = real.slice(real.lastIndexOf('/') + 1)
    if (!stat.isCharacterDevice() || !KINDS[kind].test(name)) {
      throw new SluiceError('SLUICE_POD_DEVICE', `${path} is no ${kind === 'serial' ? 'serial line' : 'radio'}`, {
        hint: 'Only serial lines, and SPI, GPIO, I2C and HID nodes of radios are given to pods.',
      })
    }
    const user = usedBy(real)
    if (user !== undefined) {
      throw new SluiceError('SLUICE_POD_DEVICE', `${path} is in use by the device ${user} of this gateway`, {
        hint: 'A line has one master: ask for the device instead (sluice.dev/device), or pause or remove it.',
      })
    }
    return { hostPath: real, containerPath: path, permissions: 'rw', group: stat.gid }
  })
}
