import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GatewaySpec } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { VirtualGateway, VirtualHub } from '../roaming/hall.ts'

const TETHERED: GatewaySpec = { mode: 'tethered', tether: { lease: '10s', grace: '20s', onLoss: 'stop' } }

async function hall(): Promise<{ clock: VirtualClock; hub: VirtualHub; gateway: VirtualGateway } & AsyncDisposable> {
  const clock = new VirtualClock()
  const hub = new VirtualHub(clock)
  const gateway = new VirtualGateway('gw', hub)
  await clock.advance(500)
  return {
    ...{ clock, hub, gateway },
    async [Symbol.asyncDispose]() {
      await gateway.stop()
      hub.stop()
    },
  }
}

const gone = (hub: VirtualHub, clock: VirtualClock) => {
  const from = hub.leases.mayMoveFrom('gw')
  return typeof from === 'number' && clock.now() >= from
}

describe('the tether over a real link', () => {
  it('leads a gateway while the link holds, and ends its work before it may begin elsewhere', async () => {
    await using at = await hall()
    const { clock, hub, gateway } = at
    const { tether } = gateway.core
    const told: string[] = []
    tether.onChange(({ work, begins }) => told.push(`${work} ${begins}`))
    expect(tether.leash).toEqual({ begins: true, ownWill: true, work: 'runs' })
    expect(hub.leases.mayMoveFrom('gw')).toBe('never')
    hub.addGateway('gw', TETHERED)
    await clock.advance(30_000)
    expect(tether.state.is).toBe('led')
    expect(() => gateway.core.desire('hall/tag', 'lamp', 1, 'me')).toThrow(
      expect.objectContaining({ code: 'SLUICE_TETHERED' }),
    )
    gateway.unlink()
    const cutMs = clock.now()
    await clock.advance(9_000)
    expect(tether.state.is).toBe('led')
    await clock.advance(3_000)
    expect(tether.leash).toEqual({ begins: false, ownWill: false, work: 'runs' })
    await clock.advance(20_000)
    expect(tether.leash).toEqual({ begins: false, ownWill: true, work: 'stopped' })
    const from = hub.leases.mayMoveFrom('gw')
    expect(from).toBeGreaterThan(cutMs + 27_000)
    expect(from).toBeLessThan(cutMs + 31_000)
    gateway.link()
    await clock.advance(60_000)
    expect(tether.state.is).toBe('led')
    expect(told.at(-1)).toBe('runs true')
  })

  it('shows in Gateway.status what the supernode knows, each change once, with the time from which its work may move', async () => {
    await using at = await hall()
    const { clock, hub, gateway } = at
    const { leases } = hub
    await clock.advance(20_000)
    expect(leases.status('gw')).toEqual({ state: 'autonomous' })
    hub.addGateway('gw', TETHERED)
    await clock.advance(30_000)
    expect(leases.status('gw')).toMatchObject({ state: 'led', term: leases.term, onLoss: 'stop' })
    expect(leases.status('gw')).not.toHaveProperty('releasedAt')
    expect(gateway.core.tether.status).toEqual({ state: 'led', term: leases.term, onLoss: 'stop' })
    gateway.unlink()
    await clock.advance(14_000)
    expect(leases.status('gw')).toMatchObject({ state: 'slack' })
    await clock.advance(20_000)
    const lost = leases.status('gw')
    expect(lost).toMatchObject({ state: 'lost', onLoss: 'stop' })
    expect(Date.parse(lost?.releasedAt ?? '')).toBe(hub.leases.mayMoveFrom('gw'))
    expect(gateway.core.tether.status).toMatchObject({ state: 'lost', onLoss: 'stop' })
    gateway.link()
    await clock.advance(30_000)
    expect(leases.status('gw')).toMatchObject({ state: 'led' })
    expect(hub.tethers).toEqual(['autonomous', 'led', 'slack', 'lost', 'led'])
  })

  it('writes to devices behind it only under a lease, and never by the word of a supernode that was replaced', async () => {
    await using at = await hall()
    const { clock, hub, gateway } = at
    const { fake } = gateway
    fake.answer = () => ({ state: 'applied', atMs: gateway.now })
    hub.addGateway('gw', TETHERED)
    hub.put({ nodeName: 'gw' })
    await clock.advance(20_000)
    hub.put({ nodeName: 'gw' }, { lamp: 1 })
    await clock.advance(1_000)
    expect(fake.writes.map(({ command }) => command.value)).toEqual([1])

    // Who took over has given a lease; the one before does not know that, and goes on giving orders.
    gateway.core.tether.grant({ term: hub.leases.term + 1, askedMs: clock.monotonic(), spanMs: 5_000 })
    await clock.advance(6_000)
    expect(gateway.core.tether.state.is).toBe('slack')
    hub.put({ nodeName: 'gw' }, { lamp: 2 })
    await clock.advance(35_000)
    expect(fake.writes).toHaveLength(1)
    const lamp = hub.record.properties.get('lamp')?.twin.write
    expect(lamp).toMatchObject({ state: 'timedOut', reason: expect.stringContaining('had no lease') })

    // Once somebody leads who may, what is still wanted is written at once.
    hub.put({ nodeName: 'gw' }, { lamp: 3 })
    await clock.advance(1_000)
    expect(fake.writes).toHaveLength(1)
    gateway.core.tether.grant({ term: hub.leases.term + 1, askedMs: clock.monotonic(), spanMs: 5_000 })
    await clock.advance(100)
    expect(fake.writes.map(({ command }) => command.value)).toEqual([1, 3])
  })

  it('keeps the work of one that keeps it, and of one that never heard that it should stop', async () => {
    await using at = await hall()
    const { clock, hub, gateway } = at
    hub.addGateway('gw', { mode: 'tethered', tether: { onLoss: 'keep' } })
    await clock.advance(60_000)
    gateway.unlink()
    await clock.advance(10_000)
    hub.addGateway('gw', TETHERED)
    await clock.advance(3_600_000)
    expect(hub.leases.mayMoveFrom('gw')).toBe('never')
    expect(gateway.core.tether.leash.work).toBe('runs')
  })

  it('knows that a change on its way may have arrived, and its successor not', async () => {
    await using at = await hall()
    const { clock, hub, gateway } = at
    hub.addGateway('gw', TETHERED)
    await clock.advance(30_000)
    gateway.latencyMs = 3_000
    hub.addGateway('gw', {})
    await clock.advance(4_000)
    expect(gateway.core.tether.state.is).toBe('autonomous')
    hub.addGateway('gw', TETHERED)
    gateway.unlink()
    await clock.advance(600_000)
    expect(gateway.core.tether.leash.work).toBe('runs')
    expect(hub.leases.mayMoveFrom('gw')).toBe('never')
  })

  it('never lets work begin elsewhere while it still runs at the gateway, whatever the link and people do (property)', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 100, max: 40_000 }) }),
      fc.record({ do: fc.constant('cut' as const) }),
      fc.record({ do: fc.constant('join' as const) }),
      fc.record({ do: fc.constant('latency' as const), ms: fc.integer({ min: 1, max: 4_000 }) }),
      fc.record({
        do: fc.constant('spec' as const),
        spec: fc.constantFrom<GatewaySpec>(
          {},
          TETHERED,
          { mode: 'tethered' },
          { mode: 'tethered', tether: { lease: '3s', grace: '5s', onLoss: 'freeze' } },
        ),
      }),
    )
    let moments = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 25 }), async (steps) => {
        await using at = await hall()
        const { clock, hub, gateway } = at
        hub.addGateway('gw', TETHERED)
        const check = () => {
          if (!gone(hub, clock)) return
          moments++
          expect(gateway.core.tether.leash.work).not.toBe('runs')
        }
        for (const each of [
          ...steps,
          { do: 'cut' as const },
          { do: 'wait' as const, ms: 40_000 },
          { do: 'wait' as const, ms: 40_000 },
        ]) {
          if (each.do === 'cut') gateway.unlink()
          else if (each.do === 'join') gateway.link()
          else if (each.do === 'latency') gateway.latencyMs = each.ms
          else if (each.do === 'spec') hub.addGateway('gw', each.spec)
          else {
            for (let passed = 0; passed < each.ms; passed += 500) {
              await clock.advance(Math.min(500, each.ms - passed))
              check()
            }
          }
          check()
        }
      }),
      { numRuns: 30, endOnFailure: true },
    )
    expect(moments).toBeGreaterThan(0)
  }, 60_000)
})
