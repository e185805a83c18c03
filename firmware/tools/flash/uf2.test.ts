import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../api/errors.ts'
import { decodeUf2, encodeUf2 } from './uf2.ts'

describe('UF2', () => {
  it('is the layout that the boot ROM takes', () => {
    const file = Buffer.from(encodeUf2([{ address: 0x10000000, bytes: Uint8Array.of(1, 2, 3) }]))
    expect(file.length).toBe(512)
    expect(file.subarray(0, 36).toString('hex')).toBe(
      '5546320a57515d9e00200000000000100001000000000000' + '0100000056ff8be4' + '010203ff',
    )
    expect(file.subarray(508).toString('hex')).toBe('306fb10a')
  })

  it('holds a bootloader and an image at their places, whatever they are', () => {
    const content = fc.uint8Array({ minLength: 1, maxLength: 1500 })
    fc.assert(
      fc.property(content, content, (boot, image) => {
        const file = encodeUf2([
          { address: 0x10008000, bytes: image },
          { address: 0x10000000, bytes: boot },
        ])
        const flash = new Uint8Array(0x9000).fill(0xff)
        for (const { address, bytes } of decodeUf2(file)) flash.set(bytes, address - 0x10000000)
        expect(flash.subarray(0, boot.length)).toEqual(boot)
        expect(flash.subarray(0x8000, 0x8000 + image.length)).toEqual(image)
      }),
      { numRuns: 50 },
    )
  })

  it('refuses parts that overlap, other chips, and files that are cut or damaged in their heads', () => {
    const part = { address: 0x10000000, bytes: new Uint8Array(300) }
    expect(() => encodeUf2([part, { address: 0x10000100, bytes: new Uint8Array(1) }])).toThrow(SluiceError)
    expect(() => encodeUf2([{ address: 0x10000001, bytes: new Uint8Array(1) }])).toThrow(SluiceError)
    const file = encodeUf2([part])
    expect(() => decodeUf2(file.subarray(0, 700))).toThrow('no whole number of blocks')
    expect(() => decodeUf2(file.subarray(0, 512))).toThrow('out of order')
    expect(() => decodeUf2(file, 1)).toThrow('another family')
    const damaged = Uint8Array.from(file)
    damaged[511] = 0
    expect(() => decodeUf2(damaged)).toThrow('begins or ends')
  })
})
