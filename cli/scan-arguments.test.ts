import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../api/errors.ts'
import { atMostWords, hostLine, lastingName, samePort, serialLines, unitList } from './scan-arguments.ts'

const refused = expect.objectContaining({ code: 'SLUICE_CLI_OPTION_VALUE' })

describe('what to scan', () => {
  it('is units in the order given, none twice', () => {
    expect(unitList('5, 1-3,2', 1, 247)).toEqual([5, 1, 2, 3])
  })

  it.each(['', '0', '248', '3-1', '1-', 'a', '1,,2', '1-9999'])("refuses the units '%s'", (text) => {
    expect(() => unitList(text, 1, 247)).toThrow(refused)
  })

  it('is every parity of the first speed before the next speed', () => {
    expect(serialLines('/dev/x', '9600,19200', 'none,even')).toEqual([
      { kind: 'serial', path: '/dev/x', baud: 9600, parity: 'none' },
      { kind: 'serial', path: '/dev/x', baud: 9600, parity: 'even' },
      { kind: 'serial', path: '/dev/x', baud: 19_200, parity: 'none' },
      { kind: 'serial', path: '/dev/x', baud: 19_200, parity: 'even' },
    ])
    expect(() => serialLines('/dev/x', 'fast', 'none')).toThrow(refused)
    expect(() => serialLines('/dev/x', '9600', 'mark')).toThrow(refused)
  })

  it('takes a time that is said before', () => {
    const lines = serialLines('/dev/x', '9600,19200,38400,115200', 'none,even')
    expect(atMostWords(lines, 247, 200)).toBe(
      'Asking 247 units with 8 settings: at most about 7 min; --units, --bauds and --parity ask less.',
    )
    expect(atMostWords([hostLine('plc')], 247, 200)).toBe('Asking 247 units: at most about 50 s; --units asks fewer.')
    expect(atMostWords([hostLine('plc')], 1, 200)).toBe('Asking 1 unit: at most about 1 s.')
  })

  it('is a host with or without a port', () => {
    expect(hostLine('plc.local')).toEqual({ kind: 'tcp', host: 'plc.local', port: 502 })
    expect(hostLine('10.0.0.7:1502')).toEqual({ kind: 'tcp', host: '10.0.0.7', port: 1502 })
    expect(hostLine('[fe80::1]:502')).toEqual({ kind: 'tcp', host: 'fe80::1', port: 502 })
    for (const text of ['', 'a:b', 'a:0', 'a:70000', 'a b']) expect(() => hostLine(text)).toThrow(refused)
  })

  it('is refused with words whatever somebody types', () => {
    const calls = [
      (text: string) => unitList(text, 1, 247),
      (text: string) => serialLines('/dev/x', text, text),
      (text: string) => hostLine(text),
    ]
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^[0-9,:. -]{0,12}$/)),
        fc.constantFrom(...calls),
        (text, call) => {
          try {
            expect(call(text)).toBeDefined()
          } catch (error) {
            expect(error).toBeInstanceOf(SluiceError)
          }
        },
      ),
    )
  })

  it('is a serial port by its lasting name, where it has one', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-by-id-'))
    try {
      const port = join(folder, 'ttyUSB0')
      writeFileSync(port, '')
      symlinkSync(port, join(folder, 'usb-FTDI-if00'))
      const byId = join(folder, 'usb-FTDI-if00')
      expect(lastingName(byId, folder)).toMatch(folder)
      expect(samePort(port, byId)).toBe(true)
      expect(lastingName('/dev/no-such', folder)).toBe('/dev/no-such')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
