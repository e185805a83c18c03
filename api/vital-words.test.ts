import { expect, it } from 'vitest'
import { scaled, spanWords, vitalSummary } from './vital-words.ts'

const at = '2026-01-01T00:00:00.000Z'

it('says battery, power and link in a few words, and marks what is estimated', () => {
  expect(
    vitalSummary({
      power: { watts: 4.249, source: 'estimated', by: 'model', supply: 'battery', at },
      battery: {
        percent: 80.6,
        state: 'discharging',
        timeToEmpty: { seconds: 11_520, lowSeconds: 10_000, highSeconds: 13_000 },
        source: 'measured',
        by: 'battery',
        at,
      },
      networks: [
        { name: 'eth0', kind: 'ethernet', up: false },
        { name: 'wlan0', kind: 'wifi', up: true, toHub: true, signalDbm: -61.4 },
      ],
      link: { roundTripMs: 24.3, lossRatio: 0.05, trend: 'degrading' },
    }),
  ).toEqual({ battery: '81% 3h12m left', power: '~4.25W battery', link: 'wifi -61dBm 24ms 5% lost degrading' })
})

it('says nothing of what is not known', () => {
  expect(vitalSummary({})).toBeUndefined()
  expect(vitalSummary({ link: { reconnects: 3 } })).toBeUndefined()
  expect(vitalSummary({ battery: { state: 'full', source: 'measured', by: 'battery', at } })).toEqual({
    battery: 'full',
  })
})

it.each([
  [0, '0W'],
  [0.0424, '42.4mW'],
  [12.34, '12.3W'],
  [1234, '1.23kW'],
  [2_500_000, '2.50MW'],
])('%d watts are %s', (watts, text) => expect(scaled(watts, 'W')).toBe(text))

it.each([
  [59, '1m'],
  [3600, '1h'],
  [11_520, '3h12m'],
  [200_000, '2d7h'],
])('%d seconds are %s', (seconds, text) => expect(spanWords(seconds)).toBe(text))
