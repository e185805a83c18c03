import { describe, expect, it } from 'vitest'
import { SluiceError } from '../api/errors.ts'
import { describeError, exitCodeOf } from './failure.ts'
import { colorless } from './output.ts'

describe('exitCodeOf', () => {
  it.each([
    ['SLUICE_CLI_ARGUMENTS', 2],
    ['SLUICE_YAML_SYNTAX', 2],
    ['SLUICE_CLI_FILES_INVALID', 2],
    ['SLUICE_TWIN_DEVICE_UNKNOWN', 2],
    ['SLUICE_JOIN_TOKEN_MALFORMED', 2],
    ['SLUICE_KUBE_NOT_FOUND', 2],
    ['SLUICE_CLIENT_UNREACHABLE', 3],
    ['SLUICE_KUBE_UNREACHABLE', 3],
    ['SLUICE_CLIENT_TIMEOUT', 3],
    ['SLUICE_MODBUS_CONNECT', 3],
    ['SLUICE_MODBUS_SERIAL_OPEN', 3],
    ['SLUICE_MODBUS_LINK_DOWN', 3],
    ['SLUICE_MODBUS_NO_REGISTERS', 2],
    ['SLUICE_CLIENT_FORBIDDEN', 4],
    ['SLUICE_CLIENT_PERMISSION', 4],
    ['SLUICE_TWIN_READ_ONLY', 4],
    ['SLUICE_TWIN_VALUE_REFUSED', 4],
    ['SLUICE_API_IN_USE', 1],
    ['SLUICE_CLI_ALREADY_RUNNING', 1],
    ['SLUICE_CLI_PART_FAILED', 1],
    ['SLUICE_HUB_PORT_BUSY', 1],
    ['SLUICE_INTERNAL', 1],
  ])('of %s is %i', (code, exit) => {
    expect(exitCodeOf(new SluiceError(code, ''))).toBe(exit)
  })
})

describe('describeError', () => {
  it('says code, place, message and remedy', () => {
    const error = new SluiceError('SLUICE_CLI_FILES_INVALID', 'scale is 0', {
      hint: 'Remove it.',
      field: 'spec.properties',
      position: { file: 'a.yaml', line: 3, column: 9 },
    })
    expect(describeError(error, colorless)).toBe(
      'error SLUICE_CLI_FILES_INVALID: a.yaml:3:9: scale is 0\n  field: spec.properties\n  hint: Remove it.',
    )
  })

  it('does not pass on what a server tells the terminal to do', () => {
    expect(describeError(new SluiceError('SLUICE_INTERNAL', 'x\x1b[2J'), colorless)).not.toContain('\x1b')
  })
})
