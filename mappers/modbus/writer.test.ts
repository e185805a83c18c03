import { describe, expect, it } from 'vitest'
import { type Bench, bench, device, type Property, setpoint, write } from './mapper-bench.test-helper.ts'

describe('writing', () => {
  const start = async (properties: Property[] = [setpoint], model: object = {}) => {
    const b = bench()
    b.line.unit(1)
    b.mapper.configure([device('ns/a', 1, properties, { model })])
    await b.clock.advance(1500)
    b.line.log.length = 0
    return b
  }
  const functions = (b: Bench) => b.line.log.map(({ request }) => request.fc).filter((fc) => fc > 4)

  it('writes, reads back and says applied', async () => {
    const b = await start()
    const result = write(b, 'setpoint', 42)
    await b.clock.advance(300)
    expect(result.outcome).toMatchObject({ state: 'applied', readBack: 42 })
    expect(functions(b)).toEqual([6])
    expect(b.values('ns/a', 'setpoint').at(-1)).toMatchObject({ value: 42 })
  })

  it('asks the device for its power of ten first, and writes what fits it', async () => {
    const limit: Property = {
      ...{ name: 'limit', type: 'float', unit: '%', access: 'readwrite', min: 0, max: 100 },
      modbus: { holding: 10, scaleRegister: 14 },
    }
    const b = await start([limit])
    b.line.unit(1).memory.holding.set(14, 0xfffe)
    const result = write(b, 'limit', 42.5)
    await b.clock.advance(500)
    expect(result.outcome).toMatchObject({ state: 'applied', readBack: 42.5 })
    expect(b.line.unit(1).memory.holding.get(10)).toBe(4250)
    b.line.unit(1).memory.holding.set(14, 0x8000)
    const refused = write(b, 'limit', 10)
    await b.clock.advance(500)
    expect(refused.outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_REFUSED' })
    expect(b.line.unit(1).memory.holding.get(10)).toBe(4250)
  })

  it('writes what only fits with the power of ten of the device, and refuses what fits with none before the wire', async () => {
    const power: Property = {
      ...{ name: 'power', type: 'float', unit: 'W', access: 'readwrite', min: -1e5 },
      modbus: { holding: 10, as: 'int16', scaleRegister: 14 },
    }
    const b = await start([power])
    b.line.unit(1).memory.holding.set(14, 1)
    const result = write(b, 'power', -40_000)
    await b.clock.advance(500)
    expect(result.outcome).toMatchObject({ state: 'applied', readBack: -40_000 })
    expect(b.line.unit(1).memory.holding.get(10)).toBe(0x10000 - 4000)
    b.line.unit(1).memory.holding.set(14, 0)
    const tooLarge = write(b, 'power', 40_000)
    await b.clock.advance(500)
    expect(tooLarge.outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_VALUE_RANGE' })
    b.line.log.length = 0
    const [beyond, below] = [write(b, 'power', 1e30), write(b, 'power', -2e5)]
    await b.clock.advance(0)
    for (const { outcome } of [beyond, below])
      expect(outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_VALUE_RANGE' })
    expect(b.line.log).toHaveLength(0)
  })

  it('refuses what is out of limits before the wire', async () => {
    const b = await start()
    for (const [value, code] of [
      [1001, 'SLUICE_VALUE_RANGE'],
      ['x', 'SLUICE_VALUE_TYPE'],
      [1.5, 'SLUICE_VALUE_TYPE'],
    ] as const) {
      const result = write(b, 'setpoint', value)
      await b.clock.advance(0)
      expect(result.outcome).toMatchObject({ state: 'rejected', code })
    }
    const unknown = write(b, 'nothing', 1)
    await b.clock.advance(0)
    expect(unknown.outcome).toMatchObject({ code: 'SLUICE_WRITE_UNKNOWN_PROPERTY' })
    expect(b.line.log).toHaveLength(0)
  })

  it('says rejected when the device keeps another value', async () => {
    const b = await start()
    b.line.unit(1).onWrite = () => 7
    const result = write(b, 'setpoint', 42)
    await b.clock.advance(5000)
    expect(result.outcome).toMatchObject({
      state: 'rejected',
      code: 'SLUICE_WRITE_MISMATCH',
      reason: expect.stringContaining('7'),
    })
  })

  it('says rejected when the device refuses', async () => {
    const b = await start()
    const result = write(b, 'setpoint', 42)
    b.line.unit(1).exceptions.push(3)
    await b.clock.advance(5000)
    expect(result.outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_REFUSED' })
  })

  it('changes bits with function 22 where the model has it and by read, change, write elsewhere', async () => {
    const flag: Property = { name: 'flag', type: 'bool', access: 'readwrite', modbus: { holding: 20, bit: 3 } }
    for (const [model, expected] of [
      [{ maskWrite: true }, [22]],
      [{}, [6]],
      [{ writeMultiple: true }, [16]],
    ] as const) {
      const b = await start([flag], model)
      b.line.unit(1).memory.holding.set(20, 0xf0f0)
      const result = write(b, 'flag', true)
      await b.clock.advance(500)
      expect(result.outcome).toMatchObject({ state: 'applied', readBack: true })
      expect(functions(b)).toEqual(expected)
      expect(b.line.unit(1).memory.holding.get(20)).toBe(0xf0f8)
    }
  })

  it('keeps the order of writes to a device', async () => {
    const b = await start()
    const results = [1, 2, 3].map((value) => write(b, 'setpoint', value))
    await b.clock.advance(2000)
    expect(results.map(({ outcome }) => outcome?.state)).toEqual(['applied', 'applied', 'applied'])
    const written = b.line.log.flatMap(({ request }) => (request.fc === 6 ? [request.value] : []))
    expect(written).toEqual([1, 2, 3])
  })

  it('drops a write that a newer one replaced before it was on the wire', async () => {
    const b = await start()
    const first = write(b, 'setpoint', 1)
    const second = write(b, 'setpoint', 2)
    second.abort.abort()
    await b.clock.advance(2000)
    expect(first.outcome).toMatchObject({ state: 'applied' })
    expect(second.outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_SUPERSEDED' })
    expect(functions(b)).toEqual([6])
  })

  it('tries a silent device at once, goes on trying, and applies when it is back', async () => {
    const b = await start()
    b.line.unit(1).dead = true
    await b.clock.advance(60_000)
    b.line.log.length = 0
    const result = write(b, 'setpoint', 42, 20_000)
    await b.clock.advance(100)
    expect(b.line.log[0]).toMatchObject({ request: { fc: 6 } })
    await b.clock.advance(5000)
    b.line.unit(1).dead = false
    await b.clock.advance(6000)
    expect(result.outcome).toMatchObject({ state: 'applied' })
  })

  it('ends as timedOut at its deadline and sends nothing afterwards', async () => {
    const b = await start()
    b.line.unit(1).dead = true
    const result = write(b, 'setpoint', 42, 5000)
    await b.clock.advance(5001)
    expect(result.outcome).toMatchObject({ state: 'timedOut', reason: expect.stringContaining('did not answer') })
    b.line.unit(1).dead = false
    await b.clock.advance(60_000)
    expect(functions(b).length).toBeGreaterThan(0)
    expect(b.line.unit(1).memory.holding.get(10)).toBeUndefined()
  })

  it('waits for a broken link to come back', async () => {
    const b = await start()
    b.line.unplug()
    const result = write(b, 'setpoint', 42, 20_000)
    await b.clock.advance(10_000)
    expect(result.outcome).toBeUndefined()
    b.line.plug()
    await b.clock.advance(1000)
    expect(result.outcome).toMatchObject({ state: 'applied' })
  })

  it('writes to another register than it reads where the model says so', async () => {
    const b = await start([{ ...setpoint, modbus: { input: 5, write: { register: 30 } } }])
    b.line.unit(1).onWrite = (_, value) => {
      b.line.unit(1).memory.input.set(5, value)
      return value
    }
    const result = write(b, 'setpoint', 42)
    await b.clock.advance(500)
    expect(result.outcome).toMatchObject({ state: 'applied' })
    expect(b.line.unit(1).memory.holding.get(30)).toBe(42)
  })
})
