import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { isNoticeItem, type NoticeItem } from '../../api/link/notices.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { HostEvent } from '../../mappers/sdk/mapper.ts'
import { MAX_NOTICES, Notices } from './notices.ts'

let clock: VirtualClock
let changes: number
let notices: Notices
beforeEach(() => {
  clock = new VirtualClock()
  changes = 0
  notices = new Notices({ clock, onChange: () => void changes++ })
})

const mic = (about = 'plant/p1', message = 'the key does not fit'): HostEvent => ({
  about,
  type: 'Warning',
  reason: 'MicFailure',
  message,
})

describe('notices', () => {
  it('are one item with a count, told at once and then every ten seconds, however often it happens', async () => {
    for (let second = 0; second < 60; second++) {
      for (let n = 0; n < 100; n++) notices.record(mic('plant/p1', `frame ${second}`))
      await clock.advance(1000)
    }
    expect(notices.list()).toMatchObject([{ about: 'plant/p1', count: 6000, message: 'frame 59' }])
    expect(changes).toBeLessThanOrEqual(7)
    await clock.advance(10_000)
    expect(notices.since(0).items[0]?.count).toBe(6000)
  })

  it('of another device or reason are items of their own', () => {
    notices.record(mic('plant/p1'))
    notices.record(mic('plant/p2'))
    notices.record({ ...mic('plant/p2'), reason: 'ReplayedFrame' })
    expect(notices.list().map(({ about, reason }) => `${about} ${reason}`)).toEqual([
      'plant/p2 ReplayedFrame',
      'plant/p2 MicFailure',
      'plant/p1 MicFailure',
    ])
  })

  it('are news again after ten quiet minutes', async () => {
    notices.record(mic())
    const [first] = notices.list()
    await clock.advance(600_000)
    notices.record(mic())
    const [second] = notices.list()
    expect([first!.count, second!.count]).toEqual([1, 1])
    expect(second!.id).not.toBe(first!.id)
  })

  it('are asked for again until they are confirmed', () => {
    notices.record(mic('plant/p1'))
    const { change } = notices.since()
    notices.record(mic('plant/p2'))
    notices.confirmed(change)
    expect(notices.since().items.map(({ about }) => about)).toEqual(['plant/p2'])
    expect(notices.since(change).items.map(({ about }) => about)).toEqual(['plant/p2'])
    notices.confirmed(notices.since().change)
    expect(notices.since().items).toEqual([])
  })

  it('take bounded memory and stay within the limits of the link, whatever a mapper says', () => {
    const event = fc.record({
      about: fc.oneof(
        fc.constant('gateway'),
        fc.string(),
        fc.tuple(fc.string(), fc.string()).map((two) => two.join('/')),
      ),
      type: fc.constantFrom('Normal' as const, 'Warning' as const),
      reason: fc.string(),
      message: fc.oneof(fc.string({ unit: 'binary' }), fc.string({ minLength: 2000, maxLength: 3000, unit: 'binary' })),
    })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 400 }), (events) => {
        const held = new Notices({ clock, onChange: () => {} })
        for (const each of events) held.record(each)
        const list = held.list()
        expect(list.length).toBeLessThanOrEqual(MAX_NOTICES)
        expect(list.filter((item: NoticeItem) => !isNoticeItem(item))).toEqual([])
        held[Symbol.dispose]()
      }),
      { numRuns: 50 },
    )
  })

  it('counts what was forgotten before anybody had it', () => {
    for (let n = 0; n < MAX_NOTICES + 5; n++) notices.record(mic(`plant/p${n}`))
    expect(notices.list()).toHaveLength(MAX_NOTICES)
    expect(notices.counters.forgotten).toBe(5)
  })
})
