import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readingsOf } from './orders.ts'

const identity = (raw: number) => raw

describe('registers in every order', () => {
  it('show the value that makes sense among those that do not', () => {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setFloat32(0, 230.5)
    const swapped = Uint8Array.of(bytes[2]!, bytes[3]!, bytes[0]!, bytes[1]!)
    const readings = readingsOf(swapped, { as: 'float32', order: 'ABCD' }, (raw) => raw * 10)
    expect(readings).toHaveLength(12)
    expect(readings.find(({ value }) => value === '2305')).toMatchObject({ as: 'float32', order: 'big-swap' })
    expect(readings.filter(({ current }) => current)).toMatchObject([{ as: 'float32', order: 'big' }])
  })

  it('never break, whatever a device answers', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 250 }), (bytes) => {
        for (const { value } of readingsOf(bytes, { as: 'int32', order: 'big' }, identity)) expect(value).not.toBe('')
      }),
    )
  })
})
