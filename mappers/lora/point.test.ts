import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json, ModelProperty } from '../../api/resources.ts'
import { Unusable } from '../sdk/no-value.ts'
import { bytesOf, readRaw, sizeOf } from './layout.ts'
import type { Uplink } from './network.ts'
import { compilePoint, parsePath, pick } from './point.ts'
import type { LoraModel, LoraProperty, ValueType } from './schema.ts'

const uplink = (hex: string, port = 2): Uplink => ({
  device: 'ns/a',
  atMs: 0,
  fCnt: 1,
  port,
  payload: Buffer.from(hex, 'hex'),
  radio: {},
})

const point = (lora: LoraProperty, property: Partial<ModelProperty> = {}, model: LoraModel = {}) =>
  compilePoint({ name: 'p', type: 'float', ...property, lora } as ModelProperty, model)!

describe('byte layouts', () => {
  it.each<[LoraProperty, string, Partial<ModelProperty>, Json]>([
    [{ at: 0, as: 'int16', scale: 0.01 }, 'f6d7', {}, -23.45],
    [{ at: 1, as: 'uint16', order: 'little' }, '003412', { type: 'int' }, 0x1234],
    [{ at: -2, as: 'uint16' }, '00000102', { type: 'int' }, 258],
    [{ at: 0, as: 'int24' }, 'ffff38', { type: 'int' }, -200],
    [{ at: 0, as: 'float32' }, '41200000', {}, 10],
    [{ at: 0, bit: 6 }, '40', { type: 'bool' }, true],
    [{ at: 0, as: 'uint16', bits: { first: 0, count: 14 }, scale: 0.001 }, 'cb9f', {}, 2.975],
    [{ at: 0, map: { '0': 'closed', '1': 'open' } }, '01', { type: 'string' }, 'open'],
    [{ at: 0, as: 'string', length: 4 }, '61620000', { type: 'string' }, 'ab'],
    [{ at: 0, as: 'bytes', length: 2 }, '0102ff', { type: 'bytes' }, 'AQI='],
  ])('%o of %s', (binding, hex, property, value) => {
    expect(point(binding, property).read(uplink(hex), undefined)).toEqual(value)
  })

  it('carry nothing in uplinks on another port, and say what is missing or absent', () => {
    expect(point({ at: 0, port: 3 }).read(uplink('01'), undefined)).toBeUndefined()
    expect(point({ at: 4, as: 'uint16' }).read(uplink('0102'), undefined)).toMatchObject({ code: 'too-short' })
    expect(point({ at: 0, as: 'int16', absent: [0x7fff] }).read(uplink('7fff'), undefined)).toMatchObject({
      code: 'not-available',
    })
    expect(point({ at: 0, map: { '0': 'off' } }).read(uplink('07'), undefined)).toMatchObject({ code: 'not-in-map' })
    expect(point({ at: 0, as: 'float32' }).read(uplink('7fc00000'), undefined)).toMatchObject({ code: 'not-a-number' })
  })

  it('write what they read', () => {
    const types: ValueType[] = ['int8', 'uint8', 'int16', 'uint16', 'int24', 'uint24', 'int32', 'uint32']
    fc.assert(
      fc.property(fc.constantFrom(...types), fc.boolean(), fc.nat(), (as, little, seed) => {
        const size = sizeOf(as)
        const raw = (seed % 2 ** (8 * size - 1)) * (as.startsWith('int') && seed % 2 === 1 ? -1 : 1)
        const bytes = bytesOf(as, raw, little)
        expect(typeof bytes === 'string' ? bytes : readRaw(bytes, 0, as, little)).toBe(raw)
      }),
    )
    expect(bytesOf('uint8', 256, false)).toContain('does not fit')
  })

  it('never throw on any payload', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 20 }),
        fc.integer({ min: -20, max: 20 }),
        fc.constantFrom<ValueType>('int8', 'uint16', 'float64', 'string'),
        (payload, at, as) => {
          point({ at, as, length: 3 }, { type: 'string' }).read({ ...uplink(''), payload }, undefined)
        },
      ),
    )
  })
})

describe('fields of a decoder', () => {
  it('are found by path, through lists and objects, and never in what every object inherits', () => {
    const data: Json = { a: { b: [{ c: 7 }] }, t: 21.5 }
    expect(pick(data, parsePath('a.b[0].c'))).toBe(7)
    expect(pick(data, parsePath('a.x.y'))).toBeUndefined()
    expect(pick(data, parsePath('constructor.name'))).toBeUndefined()
  })

  it('come as the type of the property, or say what came instead', () => {
    const read = (type: ModelProperty['type'], value: Json, more: Partial<LoraProperty> = {}) =>
      point({ field: 'x', ...more }, { type }).read(uplink('00'), { x: value })
    expect(read('float', '21.5')).toBe(21.5)
    expect(read('int', 3.6)).toBe(4)
    expect(read('bool', 1)).toBe(true)
    expect(read('string', { a: 1 })).toBe('{"a":1}')
    expect(read('bytes', [1, 2])).toBe('AQI=')
    expect(read('float', 'warm')).toBeInstanceOf(Unusable)
    expect(read('array', 7)).toBeInstanceOf(Unusable)
    expect(read('float', null)).toBeUndefined()
  })
})

describe('downlinks', () => {
  it('are laid out with prefix, scale and suffix', () => {
    const write = point(
      { at: 0, as: 'int16', scale: 0.1, downlink: { as: 'int16', prefix: '0a', suffix: 'ff' } },
      { access: 'readwrite' },
      { port: 7 },
    ).write!
    expect(write.encode(21.5)).toEqual({ kind: 'bytes', port: 7, payload: Buffer.from('0a00d7ff', 'hex') })
    expect(write.encode(4000)).toMatchObject({ code: 'SLUICE_VALUE_RANGE' })
    expect(write.encode('x')).toMatchObject({ code: 'SLUICE_VALUE_TYPE' })
  })

  it('go through the encoder under the name it expects', () => {
    const lora: LoraProperty = { field: 'x', downlink: { field: 'settings.interval' } }
    const write = point(lora, { access: 'readwrite', type: 'int' }, { decoder: 'function encodeDownlink() {}' }).write!
    expect(write.encode(5)).toEqual({ kind: 'data', port: undefined, data: { settings: { interval: 5 } } })
    expect(() => point(lora, { access: 'readwrite' })).toThrow('the model has none')
  })

  it('are not there for what may only be read', () => {
    expect(point({ at: 0, downlink: { as: 'uint8' } }).write).toBeUndefined()
  })
})
