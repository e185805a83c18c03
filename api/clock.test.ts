import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from './clock.ts'

/** Two ends of one connection in this process. */
let near: Socket
let far: Socket

beforeEach(async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(near, 'connect')
  far = (await accepted)[0] as Socket
  server.close()
})
afterEach(() => {
  near.destroy()
  far.destroy()
})

/** As a machine that sleeps, a program that is stopped, or one long computation: nothing runs, time passes. */
const standStill = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** Timers are looked at next, before anything is read. */
const beforeTimers = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('a timer of the system clock that fires late, because nothing ran', () => {
  it('lets what came in meanwhile be read first, so that nobody is given up whose answer lies there', async () => {
    const order: string[] = []
    far.on('data', () => order.push('answer'))
    await beforeTimers()
    const fired = new Promise<void>((resolve) => {
      systemClock.after(30, () => {
        order.push('time-out')
        resolve()
      })
    })
    near.write('here')
    standStill(150)
    await fired
    expect(order).toEqual(['answer', 'time-out'])
  })

  it('keeps its place among the other timers', async () => {
    const order: number[] = []
    await beforeTimers()
    const all = [10, 20, 145, 149].map(
      (ms) =>
        new Promise<void>((resolve) => {
          systemClock.after(ms, () => {
            order.push(ms)
            resolve()
          })
        }),
    )
    standStill(150)
    await Promise.all(all)
    expect(order).toEqual([10, 20, 145, 149])
  })

  it('can still be cancelled by what is read first', async () => {
    let fired = false
    await beforeTimers()
    const timer = systemClock.after(30, () => {
      fired = true
    })
    const answered = once(far, 'data').then(() => timer.cancel())
    near.write('here')
    standStill(150)
    await answered
    await beforeTimers()
    await beforeTimers()
    expect(fired).toBe(false)
    // Whoever comes next does not wait for the one that was cancelled.
    await new Promise<void>((resolve) => systemClock.after(1, resolve))
  })
})
