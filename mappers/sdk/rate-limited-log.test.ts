import { expect, it } from 'vitest'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { RateLimitedLog } from './rate-limited-log.ts'

const bench = () => {
  const clock = new VirtualClock()
  const lines: string[] = []
  return { clock, lines, log: new RateLimitedLog({ clock, log: (_level, message) => void lines.push(message) }) }
}

it('says the same of one subject once a minute, and then how often it happened meanwhile', async () => {
  const { clock, lines, log } = bench()
  for (let i = 0; i < 5; i++) log.warn('a', 'wrong key')
  log.warn('b', 'wrong key')
  expect(lines).toEqual(['wrong key', 'wrong key'])
  await clock.advance(60_000)
  log.warn('a', 'wrong key')
  expect(lines.at(-1)).toBe('wrong key (4 more like it meanwhile)')
})

it('neither fills memory nor the log when somebody invents subjects', async () => {
  const { clock, lines, log } = bench()
  for (let i = 0; i < 10_000; i++) log.warn(`subject ${i}`, 'x')
  expect(lines).toHaveLength(512)
  await clock.advance(60_000)
  log.warn('a new one', 'heard again')
  expect(lines.at(-1)).toBe('heard again')
})
