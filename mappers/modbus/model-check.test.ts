import { describe, expect, it } from 'vitest'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { type Bench, bench, device, power, setpoint, voltage, write } from './mapper-bench.test-helper.ts'
import { canonicalModel, modelHash } from './model-hash.ts'
import type { ScriptedUnit } from './scripted-session.test-helper.ts'

const model: DeviceModelSpec = { properties: [voltage, power, setpoint] }
const checked = (properties = model.properties) => device('ns/a', 1, properties, { model: { checkModel: true } })

/** Makes a unit say that it was made of a model. */
function madeOf(unit: ScriptedUnit, spec: DeviceModelSpec): void {
  const hash = modelHash(spec)
  unit.memory.input.set(0xf000, 0x534c).set(0xf001, 1)
  for (let word = 0; word < 4; word++)
    unit.memory.input.set(0xf002 + word, (hash[2 * word]! << 8) | hash[2 * word + 1]!)
}

const asked = (b: Bench) =>
  b.line.log.filter(({ request }) => 'address' in request && request.address === 0xf000).length

describe('a board that says what model it was made of', () => {
  it('is read when it was made of the model that the gateway has', async () => {
    const b = bench()
    const unit = b.line.unit(1)
    unit.memory.input.set(0, 2301)
    madeOf(unit, model)
    b.mapper.configure([checked()])
    await b.clock.advance(60_000)
    const seen = b.values('ns/a', 'voltage')
    expect(seen[0]).toMatchObject({ value: 230.1, quality: 'good' })
    expect(seen.length).toBeGreaterThanOrEqual(59)
    expect(seen.every(({ quality }) => quality === 'good')).toBe(true)
    expect(asked(b)).toBeLessThanOrEqual(8)
  })

  it('is not read when it was made of another, and says so in every value and in one event', async () => {
    const b = bench()
    const unit = b.line.unit(1)
    unit.memory.input.set(0, 2301)
    madeOf(unit, { properties: [power, setpoint] })
    b.mapper.configure([checked()])
    await b.clock.advance(20_000)
    expect(b.values('ns/a', 'voltage').length).toBeGreaterThan(2)
    for (const reading of b.readings) {
      expect(reading).toMatchObject({ quality: 'bad(model-mismatch)' })
      expect(reading.value).toBeUndefined()
      expect(reading.reason).toContain('another model')
    }
    expect(b.events).toMatchObject([{ about: 'ns/a', type: 'Warning', reason: 'ModelMismatch' }])
    expect(b.line.log.every(({ request }) => 'address' in request && request.address === 0xf000)).toBe(true)
  })

  it('is not written to either', async () => {
    const b = bench()
    madeOf(b.line.unit(1), { properties: [power] })
    b.mapper.configure([checked()])
    const wish = write(b, 'setpoint', 5)
    await b.clock.advance(5000)
    expect(wish.outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_REFUSED' })
    expect(wish.outcome).toHaveProperty('reason', expect.stringContaining('another model'))
    expect(b.line.unit(1).memory.holding.has(10)).toBe(false)
  })

  it('is served as soon as it got the right program', async () => {
    const b = bench()
    const unit = b.line.unit(1)
    madeOf(unit, { properties: [power] })
    b.mapper.configure([checked()])
    await b.clock.advance(5000)
    madeOf(unit, model)
    await b.clock.advance(5000)
    expect(b.values('ns/a', 'voltage').at(-1)).toMatchObject({ quality: 'good' })
    const wish = write(b, 'setpoint', 5)
    await b.clock.advance(2000)
    expect(wish.outcome).toMatchObject({ state: 'applied' })
  })

  it('that was silent is asked again before anything it says is believed', async () => {
    const b = bench()
    const unit = b.line.unit(1)
    unit.memory.input.set(0, 2301)
    madeOf(unit, model)
    b.mapper.configure([checked()])
    await b.clock.advance(3000)
    unit.dead = true
    await b.clock.advance(1500)
    madeOf(unit, { properties: [power] })
    unit.memory.input.set(0, 77)
    unit.dead = false
    const before = b.readings.length
    await b.clock.advance(30_000)
    const after = b.readings.slice(before)
    expect(after.length).toBeGreaterThan(0)
    expect(after.filter(({ quality }) => quality === 'good')).toEqual([])
  })

  it('is a board at all', async () => {
    const b = bench()
    b.line.unit(1).refuses.push({ table: 'input', start: 0xf000, end: 0xffff })
    b.mapper.configure([checked()])
    await b.clock.advance(3000)
    expect(b.values('ns/a', 'voltage').at(-1)).toMatchObject({
      quality: 'bad(model-mismatch)',
      reason: expect.stringContaining('no board made by Sluice'),
    })
  })

  it('costs other devices nothing', async () => {
    const b = bench()
    b.line.unit(1)
    b.mapper.configure([device('ns/a', 1)])
    await b.clock.advance(20_000)
    expect(asked(b)).toBe(0)
  })
})

describe('the hash of a model', () => {
  const hash = (spec: DeviceModelSpec) => Buffer.from(modelHash(spec)).toString('hex')
  const one = { name: 'a', type: 'float', unit: 'V', modbus: { holding: 1, as: 'float32' } } as const

  it('is the same however the model is written', () => {
    const other = { name: 'b', type: 'int', modbus: { input: 4, map: { '0x10': 'on' } } } as const
    const plain = hash({ properties: [one, other] })
    expect(hash({ properties: [other, one] })).toBe(plain)
    expect(hash({ vendor: 'X', properties: [{ ...one, description: 'volts', poll: { every: '1s' } }, other] })).toBe(
      plain,
    )
    expect(
      hash({ properties: [one, { ...other, access: 'read', modbus: { as: 'uint16', input: 4, map: { 16: 'on' } } }] }),
    ).toBe(plain)
    expect(
      hash({ properties: [{ ...one, modbus: { ...one.modbus, order: 'ABCD', scale: 1, offset: 0 } }, other] }),
    ).toBe(plain)
    expect(
      hash({
        modbus: { addressBase: 1, maxGap: 3, checkModel: true },
        properties: [
          { ...one, modbus: { ...one.modbus, holding: 2 } },
          { ...other, modbus: { ...other.modbus, input: 5 } },
        ],
      }),
    ).toBe(plain)
  })

  it('is another as soon as a register means something else', () => {
    const changes: object[] = [
      { type: 'int' },
      { unit: 'mV' },
      { access: 'readwrite' },
      { min: 0 },
      { precision: 0.1 },
      { modbus: { ...one.modbus, holding: 2 } },
      { modbus: { input: 1, as: 'float32' } },
      { modbus: { ...one.modbus, order: 'CDAB' } },
      { modbus: { ...one.modbus, scale: 10 } },
      { modbus: { ...one.modbus, notImplemented: [0] } },
    ]
    const hashes = changes.map((change) => hash({ properties: [{ ...one, ...change }] }))
    expect(new Set([hash({ properties: [one] }), ...hashes]).size).toBe(changes.length + 1)
    expect(canonicalModel({ properties: [one] })).toContain('"order":"big"')
  })
})
