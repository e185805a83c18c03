import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AttributionInput, attribute, type Use, type Weights } from './attribution.ts'

const weights: Weights = {
  jPerCpuS: 0.9,
  jPerNetworkByte: 3e-7,
  jPerStorageByte: 1e-8,
  busWatts: 0.25,
  airtimeWatts: 0.3,
  cpuSPerRead: 1e-4,
}

const amount = (max: number) => fc.double({ min: 0, max, noNaN: true })
const wild = fc.oneof(
  { weight: 8, arbitrary: amount(1e6) },
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -5, 0),
)
const use: fc.Arbitrary<Use> = fc.record({ cpuS: wild, networkBytes: wild, storageBytes: wild, memoryBytes: wild })
const input: fc.Arbitrary<AttributionInput> = fc.record({
  wholeJ: wild,
  idleJ: wild,
  memoryJ: wild,
  policy: fc.constantFrom('system', 'share'),
  machine: use,
  consumers: fc.array(use, { maxLength: 40 }).map((uses) => new Map(uses.map((value, i) => [`pod-${i}`, value]))),
  agent: use,
  devices: fc.array(fc.record({ busyS: wild, reads: wild, airtimeS: wild, bytes: wild }), { maxLength: 40 }),
  weights: fc.constant(weights),
})

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0)

describe('attribution', () => {
  test('the parts add up to the whole, and the devices to the agent, whatever the counters say', () => {
    fc.assert(
      fc.property(input, (given) => {
        const wholeJ = Number.isFinite(given.wholeJ) && given.wholeJ > 0 ? given.wholeJ : 0
        const parts = attribute(given)
        const all = [parts.idleJ, parts.restJ, parts.agentJ, ...parts.consumersJ.values()]
        for (const joules of [...all, parts.ownJ, ...parts.devicesJ]) expect(joules).toBeGreaterThanOrEqual(0)
        expect(Math.abs(sum(all) - wholeJ)).toBeLessThanOrEqual(1e-9 * Math.max(1, wholeJ))
        expect(Math.abs(parts.ownJ + sum(parts.devicesJ) - parts.agentJ)).toBeLessThanOrEqual(
          1e-9 * Math.max(1, wholeJ),
        )
      }),
    )
  })

  const given = (over: Partial<AttributionInput> = {}): AttributionInput => ({
    wholeJ: 10,
    idleJ: 4,
    memoryJ: 0,
    policy: 'system',
    machine: { cpuS: 2 },
    consumers: new Map([
      ['a', { cpuS: 1 }],
      ['b', { cpuS: 0.5 }],
    ]),
    agent: { cpuS: 0.1 },
    devices: [],
    weights,
    ...over,
  })

  test('idle energy stays with the system, and work is paid by processor time', () => {
    const parts = attribute(given())
    expect(parts.idleJ).toBe(4)
    expect(parts.consumersJ.get('a')).toBeCloseTo(3, 9)
    expect(parts.consumersJ.get('b')).toBeCloseTo(1.5, 9)
    expect(parts.agentJ).toBeCloseTo(0.3, 9)
    expect(parts.restJ).toBeCloseTo(1.2, 9)
  })

  test('shared idle energy is carried by whoever worked, in the same proportion', () => {
    const parts = attribute(given({ policy: 'share' }))
    expect(parts.idleJ).toBe(0)
    expect(parts.consumersJ.get('a')).toBeCloseTo(5, 9)
    expect(parts.consumersJ.get('b')).toBeCloseTo(2.5, 9)
  })

  test('memory that was measured goes by memory held', () => {
    const consumers = new Map([
      ['a', { cpuS: 0, memoryBytes: 3e9 }],
      ['b', { cpuS: 0, memoryBytes: 1e9 }],
    ])
    const parts = attribute(
      given({ memoryJ: 2, consumers, agent: { cpuS: 0 }, machine: { cpuS: 2, memoryBytes: 4e9 } }),
    )
    expect(parts.consumersJ.get('a')).toBeCloseTo(1.5, 9)
    expect(parts.consumersJ.get('b')).toBeCloseTo(0.5, 9)
  })

  test('a pod that sends a lot pays for the radio', () => {
    const consumers = new Map([
      ['talker', { cpuS: 0.1, networkBytes: 2e6 }],
      ['thinker', { cpuS: 0.1 }],
    ])
    const parts = attribute(given({ consumers, machine: { cpuS: 0.3, networkBytes: 2e6 } }))
    expect(parts.consumersJ.get('talker')! / parts.consumersJ.get('thinker')!).toBeCloseTo((0.09 + 0.6) / 0.09, 6)
  })

  test('devices share the agent’s part by bus time, airtime and readings', () => {
    const quiet = { busyS: 0.01, reads: 1, airtimeS: 0, bytes: 0 }
    const busy = { busyS: 0.5, reads: 50, airtimeS: 0, bytes: 0 }
    const parts = attribute(given({ devices: [quiet, busy] }))
    expect(parts.devicesJ[1]! / parts.devicesJ[0]!).toBeCloseTo(50, 6)
    expect(parts.ownJ).toBeGreaterThan(0)
  })

  test('devices on a network pay for their bytes, which are counted once', () => {
    const machine = { cpuS: 0.3, networkBytes: 1e6 }
    const chatty = { busyS: 0, reads: 1, airtimeS: 0, bytes: 1e6 }
    const quiet = { ...chatty, bytes: 0 }
    const alone = attribute(given({ machine, consumers: new Map(), devices: [quiet] }))
    const parts = attribute(given({ machine, consumers: new Map(), devices: [quiet, chatty] }))
    expect(parts.devicesJ[1]).toBeGreaterThan(parts.devicesJ[0]! * 10)
    // What it takes, it takes from what nobody had accounted for.
    expect(parts.restJ).toBeLessThan(alone.restJ)
    expect(parts.idleJ).toBe(alone.idleJ)
  })
})
