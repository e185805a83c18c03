import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildMacCommands, deviceTimeAns, type MacCommand, macLength, parseMacCommands } from './mac-commands.ts'

describe('MAC commands', () => {
  it.each<[string, boolean, MacCommand]>([
    ['02', true, { name: 'LinkCheckReq', fields: {} }],
    ['021403', false, { name: 'LinkCheckAns', fields: { margin: 20, gateways: 3 } }],
    [
      '0351070001',
      false,
      { name: 'LinkADRReq', fields: { dataRate: 5, txPower: 1, chMask: 7, chMaskCntl: 0, nbTrans: 1 } },
    ],
    ['0307', true, { name: 'LinkADRAns', fields: { chMaskAck: 1, dataRateAck: 1, powerAck: 1 } }],
    ['0403', false, { name: 'DutyCycleReq', fields: { maxDutyCycle: 3 } }],
    [
      '0523d2ad84',
      false,
      { name: 'RXParamSetupReq', fields: { rx1DrOffset: 2, rx2DataRate: 3, frequency: 8_695_250 } },
    ],
    ['06b43e', true, { name: 'DevStatusAns', fields: { battery: 180, margin: -2 } }],
    [
      '0703184f8450',
      false,
      { name: 'NewChannelReq', fields: { channel: 3, frequency: 8_671_000, minDataRate: 0, maxDataRate: 5 } },
    ],
    ['0805', false, { name: 'RXTimingSetupReq', fields: { delay: 5 } }],
    ['0935', false, { name: 'TxParamSetupReq', fields: { downlinkDwell: 1, uplinkDwell: 1, maxEirp: 5 } }],
    ['0a00184f84', false, { name: 'DlChannelReq', fields: { channel: 0, frequency: 8_671_000 } }],
    ['0b01', true, { name: 'RekeyInd', fields: { minor: 1 } }],
    ['0c21', false, { name: 'ADRParamSetupReq', fields: { limitExponent: 2, delayExponent: 1 } }],
    ['0d', true, { name: 'DeviceTimeReq', fields: {} }],
  ])('%s (up %s) is %o', (hex, up, command) => {
    const { commands, problem } = parseMacCommands(Buffer.from(hex, 'hex'), up)
    expect(problem).toBeUndefined()
    expect(commands).toEqual([command])
    expect(buildMacCommands(commands).toString('hex')).toBe(hex)
    expect(macLength(commands)).toBe(hex.length / 2)
  })

  it('stops at what it does not know and keeps what came before', () => {
    const read = parseMacCommands(Buffer.from('0230aabb', 'hex'), true)
    expect(read.commands.map(({ name }) => name)).toEqual(['LinkCheckReq'])
    expect(read.problem).toContain('0x30')
    expect(parseMacCommands(Buffer.from('06b4', 'hex'), true).problem).toContain('cut short')
  })

  it('never throws, and what it read it can write again', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, up) => {
        const { commands } = parseMacCommands(bytes, up)
        expect(parseMacCommands(buildMacCommands(commands), up).commands).toEqual(commands)
      }),
      { numRuns: 1000 },
    )
  })

  it('tells the time in GPS seconds', () => {
    const { fields } = deviceTimeAns(Date.UTC(2020, 0, 1) + 500)
    expect(fields).toEqual({ seconds: 1_261_872_018, fraction: 128 })
  })
})
