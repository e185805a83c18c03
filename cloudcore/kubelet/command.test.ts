import { once } from 'node:events'
import { Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { loopbackStream } from '../../api/link/loopback-stream.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { connectCommand } from './command.ts'
import { cutWhenStuck } from './cut-when-stuck.ts'

describe('a command whose caller takes its output slowly', () => {
  it('says how it ended when the caller has all of the output', async () => {
    const [near, far] = loopbackStream()
    const took: Buffer[] = []
    const pending: (() => void)[] = []
    const stdout = new Writable({
      highWaterMark: 1024 * 1024,
      write(data: Buffer, _encoding, done) {
        took.push(data)
        pending.push(done)
      },
    })
    const finished: number[] = []
    const caller = {
      ...{ stdin: undefined, stderr: undefined, resize: undefined, stdout, gone: new AbortController().signal },
      finish: (_status: string) => {
        finished.push(Buffer.concat(took).length)
        return Promise.resolve()
      },
    }
    const connected = connectCommand(caller, near)
    far.ready()
    const out = far.channel(CHANNEL.stdout)
    for (let part = 0; part < 8; part++) out.write(Buffer.alloc(10_000, part))
    out.end()
    await Promise.all([once(out, 'finish'), far.done({ exitCode: 0 }), near.outcome])
    for (let part = 0; part < 100; part++) {
      await turn()
      pending.shift()?.()
    }
    await connected
    expect(finished).toEqual([80_000])
  })
})

describe('a connection that was ended', () => {
  const watch = (queued: { bytes: number }) => {
    const clock = new VirtualClock()
    let isCut = false
    const cut = () => {
      isCut = true
    }
    return { clock, isCut: () => isCut, watched: cutWhenStuck(() => queued.bytes, cut, clock) }
  }

  it('is cut when the other side does not close it', async () => {
    const { clock, isCut } = watch({ bytes: 0 })
    await clock.advance(1999)
    expect(isCut()).toBe(false)
    await clock.advance(1)
    expect(isCut()).toBe(true)
  })

  it('is left alone for as long as its last bytes move, and not for ever when they do not', async () => {
    const queued = { bytes: 100 }
    const { clock, isCut } = watch(queued)
    for (; queued.bytes > 1; queued.bytes--) await clock.advance(2000)
    await clock.advance(26_000)
    expect(isCut()).toBe(false)
    await clock.advance(6000)
    expect(isCut()).toBe(true)
  })

  it('is let be when it closes', async () => {
    const { clock, isCut, watched } = watch({ bytes: 0 })
    watched[Symbol.dispose]()
    await clock.advance(60_000)
    expect(isCut()).toBe(false)
  })
})
