import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { GatewayHost } from '../sdk/mapper.ts'
import { withDeadline } from './guard.ts'
import { createMapper } from './mapper.ts'
import { ScriptedRadio } from './scripted-radio.test-helper.ts'
import { device, testHost } from './test-host.test-helper.ts'

const moment = fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined })

describe('a call that may never settle', () => {
  it('ends with whatever comes first, stops what it started unless that ended, and leaves no timer', async () => {
    const kind = fc.constantFrom('value' as const, 'error' as const)
    await fc.assert(
      fc.asyncProperty(
        moment,
        kind,
        fc.integer({ min: 1, max: 100 }),
        moment,
        async (settleMs, how, timeoutMs, abortMs) => {
          const clock = new VirtualClock()
          const abort = new AbortController()
          const call = Promise.withResolvers<string>()
          let givenUp = 0
          // Times of three kinds never coincide.
          if (settleMs !== undefined) {
            clock.after(settleMs * 10 + 1, () =>
              how === 'value' ? call.resolve('value') : call.reject(new Error('its own')),
            )
          }
          if (abortMs !== undefined) clock.after(abortMs * 10 + 2, () => abort.abort())
          const outcome = withDeadline(
            clock,
            { timeoutMs: timeoutMs * 10, signal: abort.signal },
            'x',
            () => call.promise,
            () => void givenUp++,
          ).then(
            (value) => value,
            (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : 'error'),
          )
          await clock.advance(2000)
          const ends: [number, string][] = [[timeoutMs * 10, 'SLUICE_BLE_TIMEOUT']]
          if (settleMs !== undefined) ends.push([settleMs * 10 + 1, how])
          if (abortMs !== undefined) ends.push([abortMs * 10 + 2, 'SLUICE_BLE_CANCELLED'])
          const first = ends.sort(([a], [b]) => a - b)[0]?.[1]
          expect(await outcome).toBe(first)
          expect(givenUp).toBe(first === how ? 0 : 1)
          expect(clock.pendingTimers).toBe(0)
        },
      ),
    )
  })
})

describe('the connections of one radio', () => {
  const temperature = {
    name: 'temperature',
    type: 'float' as const,
    ble: { characteristic: 'temperature', notify: true },
  }
  const charge = { name: 'charge', type: 'int' as const, ble: { characteristic: 'batteryLevel' } }
  const macOf = (i: number) => `C0:00:00:00:00:${(16 + i).toString(16).toUpperCase()}`
  const INCIDENTS = ['drop', 'mute', 'leave', 'hang', 'radio'] as const
  type Incident = { readonly who: number; readonly what: (typeof INCIDENTS)[number] }
  const incident = (what: readonly Incident['what'][]) => fc.record({ who: fc.nat(15), what: fc.constantFrom(...what) })

  async function live(count: number, incidents: readonly Incident[]): Promise<void> {
    const clock = new VirtualClock()
    const radio = new ScriptedRadio(clock)
    const { host, readings } = testHost(clock)
    const mapper = createMapper(host satisfies GatewayHost, radio.open)
    const devices = Array.from({ length: count }, (_, i) => radio.device(macOf(i), { '2a6e': '6608', '2a19': '57' }))
    mapper.configure(devices.map(({ mac }, i) => device(`ns/${i}`, mac, i % 3 === 0 ? [charge] : [temperature])))
    await clock.advance(0)
    const second = async () => {
      for (const { mac, reachable } of devices) if (reachable) radio.hear(mac, '020106')
      await clock.advance(1000)
    }
    for (const { who, what } of incidents) {
      const one = devices[who % count]
      if (one === undefined) continue
      if (what === 'drop') one.drop?.('disconnected (8)')
      else if (what === 'mute') one.values.set('2a6e', undefined)
      else if (what === 'leave') one.reachable = false
      else if (what === 'radio') radio.fail('unplugged')
      else radio.answers = false
      for (let i = 0; i < 7; i++) await second()
    }
    radio.answers = true
    for (const one of devices) {
      one.reachable = true
      one.values.set('2a6e', Uint8Array.of(0x66, 0x08))
    }
    const from = readings.length
    // The longest pause of the breaker, and once through everybody.
    for (let i = 0; i < 300; i++) await second()
    expect(radio.mostLinks).toBeLessThanOrEqual(7)
    const served = new Set(readings.slice(from).flatMap((one) => (one.quality === 'good' ? [one.device] : [])))
    // A connection that stays and was never disturbed has nothing new to tell.
    for (const [i, one] of devices.entries()) {
      expect(served.has(`ns/${i}`) || one.connected, `ns/${i} of ${count}`).toBe(true)
    }
    await mapper[Symbol.asyncDispose]()
    await clock.advance(0)
    expect(clock.pendingTimers).toBe(0)
  }

  it('stay within the budget whatever happens, and everybody who can be reached is served again afterwards', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 16 }), fc.array(incident(INCIDENTS), { maxLength: 12 }), live),
      { numRuns: 40 },
    )
  }, 60_000)

  it('stay within the budget when the radio is reset as well', async () => {
    const found = [10, 0, 7, 11, 0, 0].map(
      (who, at) => ({ who, what: at === 1 || at === 4 ? 'drop' : 'mute' }) as const,
    )
    await live(12, [...found, { who: 0, what: 'radio' }])
  }, 60_000)
})
