import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DeviceSpec } from '../../api/resources.ts'
import { compileDevice } from './device-config.ts'
import { joinLinks } from './sharing.ts'

const device = (key: string, modbus: NonNullable<DeviceSpec['modbus']>) =>
  compileDevice({ key, revision: '1', device: { model: 'm', modbus }, model: { properties: [] } })

const onPort = (key: string, port: string, baud = 9600) => device(key, { rtu: { port, baud }, unit: 1 })

describe('devices and their wires', () => {
  it('share one line when they call one adapter by different names', () => {
    const names = new Map([['/dev/serial/by-id/usb-FTDI-if00-port0', '/dev/ttyUSB0']])
    const devices = [
      onPort('a/1', '/dev/serial/by-id/usb-FTDI-if00-port0'),
      onPort('a/2', '/dev/ttyUSB0'),
      onPort('a/3', '/dev/ttyUSB1'),
    ]
    const { links, members, conflicts } = joinLinks(devices, new Map(), (path) => names.get(path) ?? path)
    expect([...links.keys()]).toEqual(['serial:/dev/ttyUSB0', 'serial:/dev/ttyUSB1'])
    expect(members.get('serial:/dev/ttyUSB0')?.map(({ key }) => key)).toEqual(['a/1', 'a/2'])
    expect(conflicts.size).toBe(0)
  })

  it('cannot have one adapter at two speeds by calling it differently', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-wires-'))
    try {
      const port = join(folder, 'ttyUSB0')
      const lasting = join(folder, 'usb-adapter')
      writeFileSync(port, '')
      symlinkSync('ttyUSB0', lasting)
      const { conflicts } = joinLinks([onPort('a/1', lasting), onPort('a/2', port, 19_200)], new Map())
      expect([...conflicts.keys()]).toEqual(['a/2'])
      expect(conflicts.get('a/2')).toContain('a/1')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('are told apart as before where the adapter is not plugged in, and on the network', () => {
    const devices = [
      onPort('a/1', '/dev/no-such-port'),
      device('a/2', { tcp: { host: 'plc' }, unit: 1 }),
      device('a/3', { tcp: { host: 'plc' }, unit: 2 }),
    ]
    expect([...joinLinks(devices, new Map()).links.keys()]).toEqual(['serial:/dev/no-such-port', 'tcp:plc:502'])
  })
})
