import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Device } from '../../api/resources.ts'
import { account, RoamingHall } from '../../bench/far-side/roaming-hall.ts'
import { collectionPath, DEVICES, EVENTS, objectPath } from '../../cloudcore/kube/paths.ts'
import { eventually } from '../harness/until.ts'

let hall: RoamingHall
beforeAll(async () => {
  hall = await RoamingHall.start(['gw-a', 'gw-b'], 50, { roaming: { hold: '500ms', marginDb: 6 } })
}, 60_000)
afterAll(() => hall?.[Symbol.asyncDispose]())

describe('a Bluetooth tag between two gateways', { timeout: 60_000 }, () => {
  it('is served by the one that hears it best, and changes hands without a value lost or doubled', async () => {
    hall.signal('gw-a', -50)
    hall.signal('gw-b', -80)
    await hall.until(() => hall.serving === 'gw-a' && hall.arrivals.length > 20, 'gw-a serves the tag')
    const from = hall.arrivals.at(-1)!.value
    for (const [near, far] of [
      ['gw-b', 'gw-a'],
      ['gw-a', 'gw-b'],
      ['gw-b', 'gw-a'],
    ] as const) {
      hall.signal(near, -45)
      hall.signal(far, -85)
      await hall.until(() => hall.serving === near, `${near} takes over`)
      const since = hall.arrivals.length
      await hall.until(() => hall.arrivals.length > since + 20, `values by ${near}`)
    }
    const through = hall.arrivals.at(-1)!.value
    expect(account(hall.arrivals, from, through)).toEqual({ lost: 0, doubled: 0 })
  })

  it('says in the API who serves it and who stands by, and tells the change of hands as an Event', async () => {
    const device = await eventually(async () => {
      const held = await hall.kube.get<Device>(objectPath(DEVICES, 'tag', 'default'))
      return held.status?.gateway === hall.serving && held.status?.link?.rssiDbm !== undefined && held
    }, 'the status of the tag')
    expect(device.status?.roaming?.standby).toEqual([hall.serving === 'gw-a' ? 'gw-b' : 'gw-a'])
    expect(device.status?.roaming?.term).toBeGreaterThan(2)
    const { items } = await hall.kube.get<{ items: { reason: string; message: string }[] }>(
      collectionPath(EVENTS, 'default'),
    )
    expect(items.find(({ reason }) => reason === 'HandedOver')?.message).toContain('serves the device')
  })

  it('goes to the other gateway at once when the one that serves it is cut off, and nothing comes twice', async () => {
    const before = hall.serving!
    const other = before === 'gw-a' ? 'gw-b' : 'gw-a'
    hall.signal(before, -50)
    hall.signal(other, -55)
    const mark = hall.arrivals.length
    await hall.until(() => hall.arrivals.length > mark + 40, 'both hear it')
    const from = hall.arrivals.at(-1)!.value
    hall.cut(before)
    await hall.until(() => hall.serving === other, `${other} takes over`)
    await hall.until(() => hall.core.hub.session(before)?.epoch !== undefined, `${before} is back`)
    const since = hall.arrivals.length
    await hall.until(() => hall.arrivals.length > since + 60, 'values after that')
    const through = hall.arrivals.at(-1)!.value - 5
    expect(account(hall.arrivals, from, through)).toEqual({ lost: 0, doubled: 0 })
  })

  it('moves when its spec names another gateway, and is known there at once', async () => {
    const before = hall.serving!
    const other = before === 'gw-a' ? 'gw-b' : 'gw-a'
    const from = hall.arrivals.at(-1)!.value
    await hall.patch({ nodeSelector: null, nodeName: other })
    await hall.until(() => hall.serving === other, `${other} serves it`)
    const since = hall.arrivals.length
    await hall.until(() => hall.arrivals.length > since + 20, 'values after that')
    expect(account(hall.arrivals, from, hall.arrivals.at(-1)!.value)).toEqual({ lost: 0, doubled: 0 })
    await eventually(() => hall.agent(before).core.engine.devices.size === 0, 'the one before holds it no more')
  })
})
