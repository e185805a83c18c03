import { describe, expect, it } from 'vitest'
import { type Bench, bench, device, type Property, power, voltage, write } from './mapper-bench.test-helper.ts'

describe('reading', () => {
  it('reads every property at its period, in as few requests as the plan says, without drift', async () => {
    const b = bench()
    b.line.unit(1).memory.input.set(0, 2301)
    b.mapper.configure([device('ns/a', 1)])
    await b.clock.advance(100_400)
    const seen = b.values('ns/a', 'voltage')
    expect(seen.length).toBeGreaterThanOrEqual(100)
    expect(seen.length).toBeLessThanOrEqual(102)
    expect(seen[0]).toMatchObject({ value: 230.1, quality: 'good' })
    expect(b.line.log.length - seen.length).toBeLessThanOrEqual(1)
    const late = b.line.log.map(({ atMs }) => atMs).slice(1)
    expect((late.at(-1)! - late[0]!) % 1000).toBeCloseTo(0, 0)
    expect(b.news).toMatchObject([{ device: 'ns/a', online: true }])
  })

  it('reads slow properties only when they are due', async () => {
    const b = bench()
    b.line.unit(1)
    b.mapper.configure([device('ns/a', 1, [voltage, { ...power, poll: { every: '10s' } }])])
    await b.clock.advance(100_000)
    expect(b.values('ns/a', 'voltage').length).toBeGreaterThanOrEqual(100)
    expect(b.values('ns/a', 'power').length).toBeGreaterThanOrEqual(10)
    expect(b.values('ns/a', 'power').length).toBeLessThanOrEqual(11)
  })

  it('gives every device of an overloaded line its share', async () => {
    const b = bench()
    const devices = Array.from({ length: 10 }, (_, index) =>
      device(`ns/d${index}`, index + 1, undefined, { poll: '100ms' }),
    )
    for (let id = 1; id <= 10; id++) b.line.unit(id)
    b.mapper.configure(devices)
    await b.clock.advance(30_000)
    const counts = devices.map(({ key }) => b.values(key, 'voltage').length)
    expect(Math.min(...counts) / Math.max(...counts)).toBeGreaterThan(0.85)
    const [stats] = b.mapper.links()
    expect(stats!.use).toBeGreaterThan(0.95)
    expect(stats!.errors['skipped-turn']).toBeGreaterThan(100)
    // What the line was busy with is booked to the devices, the same to each.
    const busyS = devices.map(({ key }) => b.mapper.busyS?.(key) ?? 0)
    expect(busyS.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(30 * 0.9)
    expect(Math.min(...busyS) / Math.max(...busyS)).toBeGreaterThan(0.85)
  })

  it('says bad(not-available) for the value that means it', async () => {
    const b = bench()
    b.line.unit(1).memory.input.set(0, 0x8000)
    b.mapper.configure([
      device('ns/a', 1, [{ ...voltage, modbus: { input: 0, as: 'int16', notImplemented: [0x8000] } }]),
    ])
    await b.clock.advance(500)
    expect(b.values('ns/a', 'voltage')[0]).toMatchObject({ quality: 'bad(not-available)' })
  })

  it('asks a busy device again after a while, without holding the line', async () => {
    const b = bench()
    b.line.unit(1).exceptions.push(6, 6)
    b.mapper.configure([device('ns/a', 1)])
    await b.clock.advance(900)
    expect(b.values('ns/a', 'voltage').length).toBeGreaterThan(0)
    expect(b.values('ns/a', 'voltage').every(({ quality }) => quality === 'good')).toBe(true)
    expect(b.line.log[1]!.atMs - b.line.log[0]!.atMs).toBeGreaterThan(100)
  })
})

describe('a device that refuses addresses', () => {
  it('finds the hole between two properties and reads around it from then on', async () => {
    const b = bench()
    b.line.unit(1).refuses.push({ table: 'input', start: 2, end: 3 })
    b.mapper.configure([device('ns/a', 1)])
    await b.clock.advance(5000)
    expect(b.values('ns/a', 'voltage').length).toBeGreaterThanOrEqual(5)
    expect(b.values('ns/a', 'voltage').every(({ quality }) => quality === 'good')).toBe(true)
    const refused = b.line.log.filter(
      ({ request }) => 'count' in request && request.address <= 2 && request.address + request.count > 2,
    )
    expect(refused).toHaveLength(1)
    expect(b.mapper.explain('ns/a')!.notes.join()).toContain('refuses input 1 to 3')
    expect(b.mapper.explain('ns/a')!.holes).toEqual([{ table: 'input', start: 1, length: 3 }])
    expect(b.mapper.links()[0]!.planEfficiency).toBeLessThan(1)
  })

  it('isolates the one property that does not exist and keeps the others', async () => {
    const b = bench()
    const many = Array.from(
      { length: 16 },
      (_, index): Property => ({ name: `p${index}`, type: 'int', modbus: { input: index } }),
    )
    b.line.unit(1).refuses.push({ table: 'input', start: 5, end: 6 })
    b.mapper.configure([device('ns/a', 1, many)])
    await b.clock.advance(20_000)
    expect(b.values('ns/a', 'p5').every(({ quality }) => quality === 'bad(modbus-exception-2)')).toBe(true)
    expect(b.values('ns/a', 'p5').length).toBeGreaterThan(2)
    expect(b.events.length).toBeGreaterThan(0)
    for (const event of b.events) {
      expect(event).toMatchObject({ about: 'ns/a', type: 'Warning', reason: 'ReadRefused' })
      expect(event.message).toMatch(/^p5: .*exception 2/)
    }
    for (const name of ['p0', 'p4', 'p6', 'p15']) {
      expect(b.values('ns/a', name).length, name).toBeGreaterThanOrEqual(19)
      expect(b.values('ns/a', name).every(({ quality }) => quality === 'good')).toBe(true)
    }
    const bisecting = b.line.log.filter(
      ({ request }) => 'count' in request && request.address <= 5 && request.address + request.count > 5,
    )
    expect(bisecting.length).toBeLessThanOrEqual(6)
  })

  it('learns how many registers the device really gives at once', async () => {
    const b = bench()
    const many = Array.from(
      { length: 60 },
      (_, index): Property => ({ name: `p${index}`, type: 'int', modbus: { input: index } }),
    )
    b.line.unit(1).maxCount = 40
    b.mapper.configure([device('ns/a', 1, many)])
    await b.clock.advance(10_000)
    expect(b.values('ns/a', 'p59').length).toBeGreaterThanOrEqual(9)
    expect(b.line.log.filter(({ request }) => 'count' in request && request.count > 40)).toHaveLength(1)
  })

  it('tries what was refused again after a day', async () => {
    const b = bench()
    b.line.unit(1).refuses.push({ table: 'input', start: 4, end: 6 })
    b.mapper.configure([device('ns/a', 1, undefined, { poll: '10m' })])
    await b.clock.advance(3_600_000)
    expect(b.values('ns/a', 'power').every(({ quality }) => quality === 'bad(modbus-exception-2)')).toBe(true)
    b.line.unit(1).refuses.length = 0
    await b.clock.advance(86_400_000)
    expect(b.values('ns/a', 'power').at(-1)).toMatchObject({ quality: 'good' })
  })

  it('does not ask for a table the device does not have', async () => {
    const b = bench()
    b.line.unit(1).exceptions.push(1)
    b.mapper.configure([device('ns/a', 1, undefined, { poll: '10s' })])
    await b.clock.advance(30_000)
    expect(b.line.log).toHaveLength(1)
    expect(b.values('ns/a', 'voltage').at(-1)).toMatchObject({ quality: 'bad(modbus-exception-1)' })
    await b.clock.advance(86_400_000)
    expect(b.values('ns/a', 'voltage').at(-1)).toMatchObject({ quality: 'good' })
  })
})

describe('a device that is silent', () => {
  const plant = (b: Bench, poll = '1s') => {
    for (let id = 1; id <= 10; id++) b.line.unit(id)
    b.mapper.configure(
      Array.from({ length: 10 }, (_, index) => device(`ns/d${index + 1}`, index + 1, undefined, { poll })),
    )
  }
  const count = (b: Bench) =>
    b.readings.filter(({ device: key, quality }) => key !== 'ns/d5' && quality === 'good').length

  for (const poll of ['1s', '400ms', '100ms']) {
    it(`costs nine others polled every ${poll} less than 5 %`, async () => {
      const healthy = bench()
      plant(healthy, poll)
      await healthy.clock.advance(120_000)
      const sick = bench()
      plant(sick, poll)
      sick.line.unit(5).dead = true
      await sick.clock.advance(120_000)
      expect(count(sick) / count(healthy)).toBeGreaterThan(0.95)
      expect(sick.news.find(({ device: key }) => key === 'ns/d5')).toMatchObject({ online: false })
    })
  }

  it('is told offline with a reason, all its properties bad, and back online by itself', async () => {
    const b = bench()
    plant(b)
    await b.clock.advance(5000)
    b.line.unit(5).dead = true
    await b.clock.advance(10_000)
    expect(b.news.at(-1)).toMatchObject({
      device: 'ns/d5',
      online: false,
      reason: expect.stringContaining('unit 5 did not answer'),
    })
    expect(b.values('ns/d5', 'power').at(-1)).toMatchObject({ quality: 'bad(timeout)' })
    b.line.unit(5).dead = false
    await b.clock.advance(35_000)
    expect(b.news.at(-1)).toMatchObject({ device: 'ns/d5', online: true })
    expect(b.values('ns/d5', 'power').at(-1)).toMatchObject({ quality: 'good' })
  })

  it('is not called offline because a busy machine answers late after one request that got lost', async () => {
    const b = bench()
    plant(b)
    await b.clock.advance(5000)
    const unit = b.line.unit(5)
    for (const lateMs of [250, 280]) {
      unit.dead = true
      await b.clock.advance(1100)
      unit.dead = false
      unit.latencyMs = lateMs
      await b.clock.advance(5000)
      unit.latencyMs = 5
      await b.clock.advance(5000)
    }
    expect(b.news.filter(({ device: key, online }) => key === 'ns/d5' && !online)).toEqual([])
  })

  it('is doubted no sooner than it was slow lately', async () => {
    const b = bench()
    plant(b)
    const unit = b.line.unit(5)
    await b.clock.advance(5000)
    unit.latencyMs = 420
    await b.clock.advance(3000)
    unit.latencyMs = 5
    await b.clock.advance(5000)
    unit.dead = true
    await b.clock.advance(1100)
    unit.dead = false
    unit.latencyMs = 500
    await b.clock.advance(5000)
    expect(b.news.filter(({ device: key, online }) => key === 'ns/d5' && !online)).toEqual([])
  })

  it('is found again within seconds when the whole line was silent', async () => {
    const b = bench()
    plant(b)
    await b.clock.advance(5000)
    for (const unit of b.line.units.values()) unit.dead = true
    await b.clock.advance(600_000)
    expect(b.news.filter(({ online }) => !online)).toHaveLength(10)
    for (const unit of b.line.units.values()) unit.dead = false
    await b.clock.advance(30_000)
    expect(
      new Set(
        b.news
          .slice(-10)
          .filter(({ online }) => online)
          .map(({ device: key }) => key),
      ).size,
    ).toBe(10)
  })
})

describe('a link that breaks', () => {
  it('takes its devices offline with the reason and brings them back by itself', async () => {
    const b = bench()
    b.line.unit(1)
    b.line.unit(2)
    b.mapper.configure([device('ns/a', 1), device('ns/b', 2)])
    await b.clock.advance(3000)
    b.line.unplug()
    await b.clock.advance(60_000)
    expect(b.news.slice(-2)).toMatchObject([
      { device: 'ns/a', online: false, reason: expect.stringContaining('the adapter is gone') },
      { device: 'ns/b', online: false },
    ])
    expect(b.values('ns/a', 'voltage').at(-1)).toMatchObject({ quality: 'bad(link-down)' })
    expect(b.mapper.links()[0]).toMatchObject({ state: 'down' })
    const requests = b.line.log.length
    b.line.plug()
    await b.clock.advance(900)
    expect(b.line.log.length).toBeGreaterThan(requests)
    expect(b.news.slice(-2)).toMatchObject([{ online: true }, { online: true }])
    expect(b.values('ns/b', 'voltage').at(-1)).toMatchObject({ quality: 'good' })
  })
})

describe('configuring', () => {
  it('leaves devices and links alone that did not change', async () => {
    const b = bench()
    b.line.unit(1)
    b.line.unit(2)
    const a = device('ns/a', 1)
    b.mapper.configure([a, device('ns/b', 2)])
    await b.clock.advance(10_500)
    const before = b.line.log.filter(({ unit }) => unit === 1).length
    b.mapper.configure([
      { ...a },
      device('ns/b', 2, [voltage], { revision: 'new' }),
      device('ns/c', 3, undefined, { rtu: { port: '/dev/ttyB' } }),
    ])
    await b.clock.advance(10_000)
    expect(b.line.log.filter(({ unit }) => unit === 1).length - before).toBe(10)
    expect(b.lines.get('/dev/ttyA')).toHaveLength(1)
    expect(b.lines.get('/dev/ttyB')).toHaveLength(1)
  })

  it('leaves out the device that wants another baud rate on the same wire and runs on', async () => {
    const b = bench()
    b.line.unit(2)
    b.mapper.configure([device('ns/b', 2)])
    await b.clock.advance(2000)
    b.mapper.configure([device('ns/a', 1, undefined, { rtu: { baud: 19200 } }), device('ns/b', 2)])
    await b.clock.advance(2000)
    const news = b.news.find(({ device: key }) => key === 'ns/a')
    expect(news).toMatchObject({ online: false, reason: expect.stringContaining('19200') })
    expect(b.values('ns/b', 'voltage').length).toBeGreaterThanOrEqual(4)
    expect(b.values('ns/b', 'voltage').at(-1)).toMatchObject({ quality: 'good' })
    const refused = write(b, 'setpoint', 1)
    await b.clock.advance(0)
    expect(refused.outcome).toMatchObject({ state: 'rejected', code: 'SLUICE_WRITE_NOT_SERVED' })
  })

  it('closes a link that nobody uses any more and stops every timer at the end', async () => {
    const b = bench()
    b.line.unit(1)
    b.mapper.configure([device('ns/a', 1)])
    await b.clock.advance(2000)
    b.mapper.configure([])
    await b.clock.advance(2000)
    expect(b.line.closed).toBe(true)
    await b.mapper[Symbol.asyncDispose]()
    expect(b.clock.pendingTimers).toBe(0)
  })
})
