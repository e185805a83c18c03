import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { Carbon, carbonAt, forecastFrom, parseCarbon } from './carbon.ts'
import { dcmiWatts, sensorWatts } from './ipmi.ts'
import { parseModel } from './model.ts'
import { pmicWatts, throttledMask } from './pi-firmware.ts'
import { CounterCorrection } from './twin-meter.ts'

describe('what vcgencmd prints', () => {
  test('is volts times amperes of the rails that have both', () => {
    const output = `     3V3_SYS_A current(1)=0.10000000A
     VDD_CORE_A current(7)=1.20000000A
     3V3_SYS_V volt(9)=3.30000000V
     VDD_CORE_V volt(15)=0.75000000V
     EXT5V_V volt(24)=5.11000000V
`
    expect(pmicWatts(output)).toBeCloseTo(0.33 + 0.9, 9)
  })

  test('is no power where a board has no such chip', () => {
    expect(pmicWatts('error=1 error_msg="Command not registered"')).toBeUndefined()
  })

  test('of throttling is a mask', () => {
    expect(throttledMask('throttled=0x50005\n')).toBe(0x50005)
    expect(throttledMask('throttled=nonsense')).toBeUndefined()
  })
})

describe('what ipmitool prints', () => {
  test('is the instantaneous reading of DCMI', () => {
    const output =
      '\n    Instantaneous power reading:                   164 Watts\n    Minimum during sampling period: 3 Watts\n'
    expect(dcmiWatts(output)).toBe(164)
    expect(dcmiWatts(`${output}    Power reading state is:                   deactivated\n`)).toBe('off')
  })

  test('is a sensor in watts, the one that was named or the one that is the whole', () => {
    const list = `PS1 Input Power  | 80.000     | Watts      | ok
PS2 Input Power  | 84.000     | Watts      | ok
Pwr Consumption  | 161.000    | Watts      | ok
Inlet Temp       | 21.000     | degrees C  | ok`
    expect(sensorWatts(list, undefined)).toBe(161)
    expect(sensorWatts(list, 'PS2 Input Power')).toBe(84)
    expect(sensorWatts(list, 'Inlet Temp')).toBeUndefined()
    expect(sensorWatts('Fan | 12 Watts | ok\nDisk | na | Watts | ns', undefined)).toBe(12)
  })
})

describe('carbon intensity', () => {
  test('is forecast from the hour that has begun up to the first gap', () => {
    const at = (hour: number, gPerKWh: number) => ({ at: new Date(Date.UTC(2026, 0, 1, hour)).toISOString(), gPerKWh })
    const given = parseCarbon(JSON.stringify([at(0, 400), at(1, 300.4), at(2, 200), at(4, 100)]))
    expect(forecastFrom(given, Date.UTC(2026, 0, 1, 1, 40))).toEqual({
      ...{ fromMs: Date.UTC(2026, 0, 1, 1), gPerKWh: [300, 200] },
    })
    expect(forecastFrom(given, Date.UTC(2026, 0, 1, 3, 10))).toBeUndefined()
    expect(forecastFrom(given, Date.UTC(2026, 0, 1, 4, 10))).toBeUndefined()
    expect(forecastFrom(250, 0)).toBeUndefined()
  })

  test('is read in the shapes that services give', () => {
    expect(parseCarbon('210')).toBe(210)
    expect(parseCarbon('{"carbonIntensity": 302, "zone": "DE"}')).toBe(302)
    const hours = parseCarbon('{"forecast": [{"datetime": "2026-01-01T01:00:00Z", "carbonIntensity": 90}]}')
    expect(carbonAt(hours, Date.UTC(2026, 0, 1, 1, 30))).toBe(90)
    expect(carbonAt(hours, Date.UTC(2026, 0, 1, 2, 30))).toBeUndefined()
    expect(carbonAt(hours, Date.UTC(2026, 0, 1, 0, 30))).toBeUndefined()
    expect(parseCarbon('{"data": [{"from": "2026-01-01T00:00Z", "intensity": {"forecast": 5, "actual": 7}}]}')).toEqual(
      [{ fromMs: Date.UTC(2026, 0, 1), gPerKWh: 7 }],
    )
  })

  test('keeps what is known when a topic sends nonsense, and says so', () => {
    let send: (payload: Uint8Array) => void = () => undefined
    const subscribe = (_: string, listener: (payload: Uint8Array) => void): Disposable => {
      send = listener
      return { [Symbol.dispose]: () => undefined }
    }
    using carbon = new Carbon({ clock: new VirtualClock(), config: { topic: 'grid/carbon' }, subscribe })
    expect(carbon.health(0)).toMatchObject([{ state: 'absent' }])
    send(Buffer.from('120'))
    expect(carbon.gPerKWh(0, 0)).toBe(120)
    send(Buffer.from('-4'))
    expect(carbon.gPerKWh(0, 0)).toBe(120)
    expect(carbon.health(0)).toMatchObject([{ state: 'faulty' }])
  })
})

describe('whatever a tool, a file or a store gives', () => {
  test('is a figure that makes sense or none', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.string().map((tail) => `Instantaneous power reading: ${tail} Watts`),
      fc.string().map((tail) => `A_A current(1)=${tail}A\nA_V volt(2)=${tail}V`),
      fc.array(fc.record({ at: fc.string(), gPerKWh: fc.double() })).map((list) => JSON.stringify(list)),
    )
    fc.assert(
      fc.property(text, (given) => {
        for (const watts of [pmicWatts(given), dcmiWatts(given), sensorWatts(given, undefined), throttledMask(given)]) {
          expect(watts === undefined || Number.isFinite(watts)).toBe(true)
        }
        const carbon = carbonAt(parseCarbon(given), 0)
        expect(carbon === undefined || (carbon >= 0 && carbon <= 10_000)).toBe(true)
        expect(() => parseModel(given)).not.toThrow()
      }),
    )
  })
})

describe('a meter with a counter', () => {
  test('has counted what its counter says, though its power is read now and then', () => {
    const correction = new CounterCorrection()
    let trueJ = 0
    let givenJ = 0
    const grainJ = 360
    for (let s = 0; s < 20_000; s++) {
      const watts = 40 + 30 * Math.sin(s / 9)
      trueJ += watts
      // Power is read every 10 s, and 3 % too low.
      const seen = (40 + 30 * Math.sin((s - (s % 10)) / 9)) * 0.97
      givenJ += seen + correction.advance(Math.floor(trueJ / grainJ) * grainJ, seen).correctionJ
    }
    expect(Math.abs(givenJ / trueJ - 1)).toBeLessThan(0.005)
  })

  test('that counts backwards says so, and adds nothing for it', () => {
    const correction = new CounterCorrection()
    correction.advance(1000, 10)
    correction.advance(2000, 10)
    expect(correction.advance(5, 10)).toMatchObject({ doubt: 'The meter counts backwards: its counter started anew' })
  })
})
