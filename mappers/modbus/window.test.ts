import { describe, expect, it } from 'vitest'
import { TransactionWindow } from './window.ts'

/** A server that takes `rateFor(window)` replies a millisecond, always kept full. */
function feed(window: TransactionWindow, replies: number, rateFor: (size: number) => number, startMs = 0): number {
  let nowMs = startMs
  for (let i = 0; i < replies; i++) {
    nowMs += 1 / rateFor(window.size)
    window.replied(true, nowMs)
  }
  return nowMs
}

describe('the transaction window', () => {
  it('grows to its bound while throughput grows with it', () => {
    const window = new TransactionWindow(1, 16)
    feed(window, 1000, (size) => size)
    expect(window.size).toBe(16)
  })

  it('stays at one for a server that does one thing at a time', () => {
    const window = new TransactionWindow(1, 16)
    feed(window, 1000, () => 2)
    expect(window.size).toBe(1)
  })

  it('stops where the round trip is hidden', () => {
    const window = new TransactionWindow(1, 16)
    feed(window, 2000, (size) => Math.min(size, 4))
    expect(window.size).toBe(4)
  })

  it('does not grow when nobody asks for more', () => {
    const window = new TransactionWindow(2, 16)
    for (let i = 0; i < 1000; i++) window.replied(false, i)
    expect(window.size).toBe(2)
  })

  it('halves when the server refuses, and tries again only after a minute', () => {
    const window = new TransactionWindow(1, 16)
    const nowMs = feed(window, 1000, (size) => size)
    window.refused(nowMs)
    expect(window.size).toBe(8)
    const laterMs = feed(window, 1000, (size) => size, nowMs)
    expect(window.size).toBe(8)
    feed(window, 1000, (size) => size, laterMs + 60_000)
    expect(window.size).toBe(16)
    for (let i = 0; i < 10; i++) window.refused(200_000)
    expect(window.size).toBe(1)
  })
})
