import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec, ModelProperty } from '../../api/resources.ts'
import { allocate } from './allocate.ts'
import { EMPTY_LOCK, formatLock, type Lock, parseLock } from './lock.ts'

type Kind = Pick<ModelProperty, 'type' | 'access'>
const kinds: Kind[] = [
  { type: 'bool' },
  { type: 'bool', access: 'readwrite' },
  { type: 'int' },
  { type: 'float', access: 'readwrite' },
  { type: 'string' },
  { type: 'bytes', access: 'write' },
]
const modelOf = (properties: readonly (readonly [string, Kind])[]): DeviceModelSpec => ({
  properties: properties.map(([name, kind]) => ({ name, ...kind })),
})
const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const kindOf = fc.constantFrom(...kinds)
const someModel = fc.uniqueArray(fc.tuple(fc.constantFrom(...names), kindOf), { selector: ([name]) => name })
/** A model through its life: each step is what it has then. */
const history = fc.array(someModel, { minLength: 2, maxLength: 8 })

const spans = (lock: Lock) => [...lock.properties.values()].flatMap(({ place }) => (place === undefined ? [] : [place]))
const overlap = (one: ReturnType<typeof spans>[number], other: typeof one) =>
  one.table === other.table && one.address < other.address + other.count && other.address < one.address + one.count

describe('addresses', () => {
  it('never move while a property keeps its shape, whatever is added, removed or put first', () => {
    fc.assert(
      fc.property(history, (steps) => {
        let lock = EMPTY_LOCK
        let before: ReadonlyMap<string, Kind> = new Map()
        for (const step of steps) {
          const next = allocate(modelOf(step), lock).lock
          for (const [name, kind] of step) {
            if (before.get(name) !== kind) continue
            expect(next.properties.get(name)).toEqual(lock.properties.get(name))
          }
          before = new Map(step)
          lock = next
        }
      }),
    )
  })

  it('of removed properties are not given to others, and numbers never', () => {
    fc.assert(
      fc.property(history, (steps) => {
        let lock = EMPTY_LOCK
        const numbers = new Map<number, string>()
        for (const step of steps) {
          lock = allocate(modelOf(step), lock).lock
          const all = [...spans(lock), ...lock.retired]
          for (const [at, one] of all.entries())
            expect(all.slice(at + 1).some((other) => overlap(one, other))).toBe(false)
          for (const [name, { number }] of lock.properties) {
            const holder = numbers.get(number)
            if (holder !== undefined) expect(holder).toBe(name)
            numbers.set(number, name)
          }
        }
      }),
    )
  })

  it('of removed properties are free again when it is asked for', () => {
    const first = allocate(
      modelOf([
        ['a', { type: 'int' }],
        ['b', { type: 'int' }],
      ]),
      EMPTY_LOCK,
    ).lock
    const without = modelOf([
      ['b', { type: 'int' }],
      ['c', { type: 'int' }],
    ])
    expect(allocate(without, first).lock.properties.get('c')?.place?.address).toBe(4)
    expect(allocate(without, first, { reuse: true }).lock.properties.get('c')?.place?.address).toBe(0)
  })

  it('lie around what the model itself binds, and out of the block of the board', () => {
    const model: DeviceModelSpec = {
      properties: [
        { name: 'free', type: 'int' },
        { name: 'bound', type: 'int', modbus: { input: 0, as: 'uint16' } },
        { name: 'far', type: 'int', modbus: { input: 0xeffe, as: 'uint32' } },
      ],
    }
    expect(allocate(model, EMPTY_LOCK).lock.properties.get('free')?.place).toEqual({
      table: 'input',
      address: 1,
      count: 2,
    })
  })

  it('are a finding when the model binds another property where one already is', () => {
    const lock = allocate(modelOf([['a', { type: 'int' }]]), EMPTY_LOCK).lock
    const model: DeviceModelSpec = {
      properties: [
        { name: 'a', type: 'int' },
        { name: 'thief', type: 'int', modbus: { input: 1 } },
      ],
    }
    expect(allocate(model, lock).findings).toMatchObject([
      { code: 'SLUICE_FW_MODEL_INVALID', path: ['spec', 'properties', 0], message: expect.stringContaining('input 0') },
    ])
  })
})

describe('the lock file', () => {
  it('reads back as it was written', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const lock = steps.reduce((before, step) => allocate(modelOf(step), before).lock, EMPTY_LOCK)
        const again = parseLock(formatLock(lock), 'firmware.lock.yaml')
        expect(again.next).toBe(lock.next)
        expect(new Map([...again.properties].sort())).toEqual(new Map([...lock.properties].sort()))
        expect(again.retired).toEqual(lock.retired)
        expect(formatLock(again)).toBe(formatLock(lock))
      }),
    )
  })

  it.each([
    ['properties: [', 'is no YAML'],
    ['version: 2', 'version 2'],
    ['version: 1\nnext: 1\nproperties: {a: {number: 1}}', 'given already'],
    ['version: 1\nnext: 9\nproperties: {a: {number: 1}, b: {number: 1}}', 'number 1 twice'],
    ['version: 1\nnext: 9\nproperties: {a: {number: 1, table: holdings, address: 1, count: 1}}', 'properties.a.table'],
    [
      'version: 1\nnext: 9\nproperties: {a: {number: 1, table: holding, address: 65536, count: 1}}',
      'properties.a.address',
    ],
    ['version: 1\nnext: 9\nretired: 5', 'no list'],
  ])('that is damaged is refused and not guessed at: %s', (text, what) => {
    expect(() => parseLock(text, 'firmware.lock.yaml')).toThrow(
      expect.objectContaining({ code: 'SLUICE_FW_LOCK_INVALID', message: expect.stringContaining(what) }),
    )
  })

  it('of any bytes is read or refused with its own error', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          parseLock(text, 'f')
        } catch (error) {
          expect(error).toMatchObject({ code: 'SLUICE_FW_LOCK_INVALID' })
        }
      }),
    )
  })
})
