import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FirmwareOrder } from '../../api/link/firmware.ts'
import { isFirmwareOrder } from '../../api/link/firmware.ts'
import { FirmwareOrders } from './orders.ts'

const order = (attempt: string, goBack = false): FirmwareOrder => ({
  ...{ attempt, board: 'rp2040', modelHash: '00'.repeat(8), version: '1.0.0', securityCounter: 1 },
  publicKey: 'a'.repeat(64),
  allowDevelopmentKey: false,
  ...(goBack ? { goBack } : {}),
  images: [{ slotAddress: 0, sha256: 'b'.repeat(64), digest: 'c'.repeat(64), sizeBytes: 10 }],
  health: { polls: 5, timeoutMs: 1000 },
})

describe('orders for boards', () => {
  it('belong to the gateway that serves the device just now, and to nobody else', () => {
    const where = new Map<string, string | undefined>()
    const orders = new FirmwareOrders((key) =>
      where.has(key) ? { uid: `uid of ${key}`, gateway: where.get(key) } : undefined,
    )
    const keys = fc.constantFrom('ns/a', 'ns/b', 'ns/c')
    const gateways = fc.constantFrom('g1', 'g2', undefined)
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), keys, gateways), { maxLength: 40 }), (steps) => {
        const held = new Map<string, FirmwareOrder>()
        let number = 0
        for (const [what, key, gateway] of steps) {
          if (what === 0) where.set(key, gateway)
          else if (what === 1) {
            held.set(key, order(`${++number}`, number % 2 === 0))
            orders.set(key, held.get(key)!)
          } else if (what === 2) {
            held.delete(key)
            orders.delete(key)
          } else where.delete(key)
          for (const each of ['g1', 'g2']) {
            const wanted = [...orders.wantedBy(each)].map((one) => one.key).sort()
            const expected = [...held.keys()].filter((one) => where.get(one) === each).sort()
            expect(wanted).toEqual(expected)
            for (const one of ['ns/a', 'ns/b', 'ns/c']) {
              const there = orders.linkObject(each, 'FirmwareUpdate', one)
              expect(there !== undefined).toBe(expected.includes(one))
              expect(orders.rev(each, 'FirmwareUpdate', one) === undefined).toBe(!expected.includes(one))
            }
          }
        }
        for (const key of held.keys()) orders.delete(key)
        where.clear()
      }),
    )
  })

  it('are told when they change, and not when they are said again', () => {
    const told: string[] = []
    const orders = new FirmwareOrders(() => ({ uid: 'u', gateway: 'g1' }))
    orders.onChange = (gateway, key) => void told.push(`${gateway} ${key}`)
    orders.set('ns/a', order('1'))
    orders.set('ns/a', order('1'))
    expect(told).toEqual(['g1 ns/a'])
    const rev = orders.rev('g1', 'FirmwareUpdate', 'ns/a')
    orders.set('ns/a', order('1', true))
    expect(orders.rev('g1', 'FirmwareUpdate', 'ns/a')).not.toBe(rev)
    orders.delete('ns/a')
    orders.delete('ns/a')
    expect(told).toHaveLength(3)
    orders.moved('ns/a', 'g1', 'g2')
    expect(told).toHaveLength(3)
    orders.set('ns/a', order('2'))
    orders.moved('ns/a', 'g1', undefined, 'g2')
    expect(told.slice(3)).toEqual(['g1 ns/a', 'g1 ns/a', 'g2 ns/a'])
  })

  it('are what a gateway takes, and a broken one is not', () => {
    expect(isFirmwareOrder(order('1'))).toBe(true)
    expect(isFirmwareOrder(order('1', true))).toBe(true)
    for (const broken of [
      { ...order('1'), goBack: 'yes' },
      { ...order('1'), images: [] },
      { ...order('1'), publicKey: 'short' },
      { ...order('1'), health: { polls: -1, timeoutMs: 1 } },
      null,
      'order',
    ])
      expect(isFirmwareOrder(broken)).toBe(false)
  })
})
