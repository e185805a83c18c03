import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startHost } from '../../hil/boards/host-rig.ts'
import type { BoardRig } from '../../hil/boards/rig.ts'
import { buildHundred, lacks, pattern } from '../../hil/boards/test-boards.test-helper.ts'
import { rtuFrame } from '../../hil/modbus-unit.ts'

const hex = (text: string): number[] => [...Buffer.from(text.replaceAll(' ', ''), 'hex')]
const word = (value: number): string => value.toString(16).padStart(4, '0')

/** The whole firmware as a process with ASan and UBSan: frames in, frames out, byte for byte. */
describe.skipIf(lacks('cc'))('the Modbus server of the firmware', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-server-'))
  let rig: BoardRig
  let heard: number[] = []
  let told: (() => void) | undefined

  beforeAll(async () => {
    const build = await buildHundred('host', folder, {}, { sanitize: true })
    rig = await startHost({ build, lines: ['stream'] })
    rig.lines[0]!.onData((chunk) => {
      heard.push(...chunk)
      told?.()
    })
  })
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Sends a request and gives back the answer's PDU in hexadecimal; the CRC of the answer is checked. */
  async function ask(request: string, answerBytes: number, unit = 1): Promise<string> {
    heard = []
    rig.lines[0]!.write(rtuFrame(unit, Uint8Array.from(hex(request))))
    while (heard.length < answerBytes + 3) await new Promise<void>((resolve) => void (told = resolve))
    const pdu = heard.slice(1, -2)
    expect(heard).toEqual([...rtuFrame(unit, Uint8Array.from(pdu))])
    return Buffer.from(pdu).toString('hex')
  }
  const exception = (request: string) => ask(request, 2)

  it('reads registers of every type in every word order', async () => {
    expect(await ask('03 0000 0003', 8)).toBe(`0306${[0, 1, 2].map((at) => word(pattern(at))).join('')}`)
    expect(await ask('03 0066 0002', 6)).toBe('030412345678')
    expect(await ask('03 0068 0002', 6)).toBe('03047960fffe') // -100 000, low word first
    expect(await ask('03 006a 0002', 6)).toBe('03044366199a') // 230.1
    expect(await ask('03 006c 0002', 6)).toBe('03040000c03f') // 1.5, least byte first
    expect(await ask('03 006e 0004', 10)).toBe('03082211443366558877') // bytes swapped within words
    expect(await ask('03 0072 0004', 10)).toBe('0308c004000000000000') // -2.5
    expect(await ask('03 0076 0004', 10)).toBe(`0308${Buffer.from('sluice\0\0').toString('hex')}`)
    expect(await ask('03 0067 0001', 4)).toBe('03025678') // half a value may be read
  })

  it('reads across values, and refuses what is not there', async () => {
    expect(await ask('03 0064 0004', 10)).toBe('03080007fffe12345678')
    expect(await exception('03 007c 0001')).toBe('8302')
    expect(await exception('03 007b 0002')).toBe('8302')
    expect(await exception('03 ffff 0002')).toBe('8302')
    expect(await exception('03 0000 0000')).toBe('8303')
    expect(await exception('03 0000 007e')).toBe('8303')
  })

  it('reads bits, packed from the lowest', async () => {
    expect(await ask('02 0000 0004', 3)).toBe('02010d')
    expect(await exception('02 0000 0005')).toBe('8202')
    expect(await exception('01 0000 07d1')).toBe('8103')
  })

  it('writes coils one by one and together, and nothing but on and off', async () => {
    expect(await ask('05 0001 ff00', 5)).toBe('050001ff00')
    expect(await ask('0f 0002 0003 01 05', 5)).toBe('0f00020003')
    expect(await ask('01 0000 0008', 3)).toBe('010116')
    expect(await exception('05 0001 0001')).toBe('8503')
    expect(await exception('05 0008 ff00')).toBe('8502')
    expect(await exception('0f 0002 0003 02 05 00')).toBe('8f03')
    expect(await ask('0f 0000 0008 01 00', 5)).toBe('0f00000008')
  })

  it('writes values within their limits, whole, and all of a request or none', async () => {
    expect(await ask('06 0064 03e8', 5)).toBe('06006403e8')
    expect(await exception('06 0064 03e9')).toBe('8603')
    expect(await exception('06 007b 0001')).toBe('8602')
    expect(await exception('06 0066 0001')).toBe('8602') // half of a 32-bit value
    expect(await exception('10 006a 0002 04 7fc00000')).toBe('9003') // no number is within no limits
    expect(await exception('10 0064 0003 06 0001 0002 0003')).toBe('9002')
    expect(await ask('03 0064 0002', 6)).toBe('030403e8fffe')
    expect(await ask('10 0064 0002 04 0007 fffe', 5)).toBe('1000640002')
    expect(await ask('10 0072 0004 08 3ff8000000000000', 5)).toBe('1000720004')
    expect(await ask('03 0072 0004', 10)).toBe('03083ff8000000000000')
    expect(await exception('10 0064 0002 03 0007ff')).toBe('9003')
  })

  it('lets a hook refuse as busy', async () => {
    expect(await exception('06 00c8 0003')).toBe('8606')
  })

  it('masks a register, and writes before it reads', async () => {
    expect(await ask('06 0000 0012', 5)).toBe('0600000012')
    expect(await ask('16 0000 00f2 0025', 7)).toBe('16000000f20025')
    expect(await ask('03 0000 0001', 4)).toBe('03020017') // the example of the specification, section 6.16
    expect(await ask('17 0000 0002 0001 0001 02 abcd', 6)).toBe('17040017abcd')
    expect(await exception('17 03e8 0001 0001 0001 02 1111')).toBe('9702')
    expect(await ask('03 0001 0001', 4)).toBe('0302abcd') // nothing was written when nothing could be read
    expect(await ask(`10 0000 0002 04 ${word(pattern(0))} ${word(pattern(1))}`, 5)).toBe('1000000002')
  })

  it('says who it is, object by object and category by category', async () => {
    const basic = '2b0e018300000300' + '06' + Buffer.from('Sluice').toString('hex')
    expect(await ask('2b 0e 01 00', 8 + 6 + 2 + 6 + 2 + 5)).toMatch(new RegExp(`^${basic}`))
    expect(await ask('2b 0e 04 80', 7 + 2 + 16)).toContain(Buffer.from('0102030405060708').toString('hex'))
    expect(await exception('2b 0e 04 06')).toBe('ab02')
    expect(await exception('2b 0e 05 00')).toBe('ab03')
    expect(await exception('2b 0d 01 00')).toBe('ab01')
  })

  it('answers diagnostics, and counts what it saw', async () => {
    expect(await ask('08 0000 a537', 5)).toBe('080000a537')
    expect(await ask('08 000a 0000', 5)).toBe('08000a0000')
    await ask('03 0000 0001', 4)
    await exception('03 1000 0001')
    expect(await ask('08 000e 0000', 5)).toBe('08000e0003')
    expect(await ask('08 000d 0000', 5)).toBe('08000d0001')
    expect(await exception('08 0004 0000')).toBe('8801')
    expect(await exception('08 000b 0001')).toBe('8803')
  })

  it('refuses functions it does not have', async () => {
    for (const fc of [7, 11, 12, 17, 20, 24, 0x41, 99]) {
      const rest = { 20: '07 06 0001 0000 0001', 24: '0001', 65: '02 aa bb', 99: '01 02' }[fc] ?? ''
      expect(await exception(fc.toString(16).padStart(2, '0') + rest)).toBe(`${(fc | 0x80).toString(16)}01`)
    }
  })

  it('tells model, version and state in the registers every board has', async () => {
    const block = await ask('04 f000 0012', 2 + 36)
    expect(block.slice(4, 4 + 4 * 9)).toBe('534c' + '0001' + '0102030405060708' + '0102' + '0003' + 'ffff')
    expect(await exception('04 f000 0017')).toBe('8402')
  })

  it('obeys writes to all and does not answer them', async () => {
    heard = []
    rig.lines[0]!.write(rtuFrame(0, Uint8Array.from(hex('06 0064 0009'))))
    rig.lines[0]!.write(rtuFrame(0, Uint8Array.from(hex('03 0064 0001'))))
    expect(await ask('03 0064 0001', 4)).toBe('03020009')
  })

  it('does not answer a request that somebody spoke on after', async () => {
    heard = []
    const stale = rtuFrame(1, Uint8Array.from(hex('06 0064 0001')))
    rig.lines[0]!.write(Uint8Array.from([...stale, ...rtuFrame(1, Uint8Array.from(hex('03 0064 0001')))]))
    while (heard.length < 7) await new Promise<void>((resolve) => void (told = resolve))
    expect(Buffer.from(heard.slice(0, 5)).toString('hex')).toBe('0103020009')
  })
})
