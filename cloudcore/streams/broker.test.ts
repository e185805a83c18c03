import { describe, expect, it } from 'vitest'
import { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import { type DialFrame, encodeControl } from '../../api/link/streams.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { StreamBroker } from './broker.ts'

function setUp(options: { maxPerGateway?: number } = {}) {
  const clock = new VirtualClock()
  const state = { linked: true as boolean | undefined, frames: [] as DialFrame[] }
  const send = (_gateway: string, frame: DialFrame) => {
    if (state.linked === true) state.frames.push(frame)
    return state.linked
  }
  const broker = new StreamBroker({ clock, send, ...options })
  const stop = new AbortController()
  const dial = (gateway = 'gw') => {
    const made = broker.dial({ gateway, kind: 'logs', target: {}, signal: stop.signal })
    made.catch(() => {})
    return made
  }
  const sent: (Uint8Array | string)[] = []
  const endpoint = () => {
    const socket = {
      send: (message: Uint8Array | string) => void sent.push(message),
      bufferedBytes: 0,
      pause: () => {},
      resume: () => {},
      close: () => {},
      ping: () => {},
    }
    return new StreamEndpoint(socket, clock)
  }
  return { clock, state, broker, stop, dial, endpoint, sent }
}

describe('the broker of streams', () => {
  it('gives the stream to whoever asked, once the gateway says that it runs', async () => {
    const { state, broker, dial, endpoint } = setUp()
    const asked = dial()
    const [frame] = state.frames
    const made = endpoint()
    broker.admit('gw', frame!.id, frame!.secret)(made)
    made.receive(encodeControl({ c: 'open' }))
    expect(await asked).toBe(made)
    expect(broker.open).toBe(1)
    made.receive(encodeControl({ c: 'done', result: null }))
    await made.outcome
    await new Promise((resolve) => setImmediate(resolve))
    expect(broker.open).toBe(0)
  })

  it('lets in only the gateway that was asked, with the secret, once', async () => {
    const { state, broker, dial, endpoint } = setUp()
    void dial()
    const { id, secret } = state.frames[0]!
    const unknown = { code: 'SLUICE_STREAM_UNKNOWN' }
    const refusal = (gateway: string, name: string, shown: string) => {
      try {
        broker.admit(gateway, name, shown)
      } catch (thrown) {
        return thrown
      }
      return 'let in'
    }
    expect(refusal('other', id, secret)).toMatchObject(unknown)
    expect(refusal('gw', id, `${secret}x`)).toMatchObject(unknown)
    expect(refusal('gw', id, '')).toMatchObject(unknown)
    expect(refusal('gw', 'no-such-id', secret)).toMatchObject(unknown)
    broker.admit('gw', id, secret)(endpoint())
    expect(refusal('gw', id, secret)).toMatchObject(unknown)
  })

  it('each dial has its own id and secret', () => {
    const { state, dial } = setUp()
    for (let index = 0; index < 20; index++) void dial()
    expect(new Set(state.frames.flatMap(({ id, secret }) => [id, secret])).size).toBe(40)
  })

  it('asks again when the link is back, and gives up after three seconds', async () => {
    const { clock, state, broker, dial } = setUp()
    state.linked = false
    const first = dial()
    await clock.advance(2_000)
    state.linked = true
    broker.connected('gw')
    expect(state.frames).toHaveLength(1)
    state.linked = false
    const second = dial()
    await clock.advance(3_100)
    await expect(second).rejects.toMatchObject({ code: 'SLUICE_STREAM_NO_LINK' })
    await clock.advance(30_000)
    await expect(first).rejects.toMatchObject({ code: 'SLUICE_STREAM_TIMEOUT' })
  })

  it('tells why a gateway refuses, and believes no other', async () => {
    const { state, broker, dial } = setUp()
    const asked = dial()
    const { id } = state.frames[0]!
    broker.refused('other', { t: 'dialRefused', id, code: 'SLUICE_STREAM_KIND', message: 'never' })
    broker.refused('gw', { t: 'dialRefused', id, code: 'SLUICE_STREAM_KIND', message: 'no pods here' })
    await expect(asked).rejects.toThrow('no pods here')
  })

  it('an agent that is too old is not waited for', async () => {
    const { state, dial } = setUp()
    state.linked = undefined
    await expect(dial()).rejects.toMatchObject({ code: 'SLUICE_STREAM_UNSUPPORTED' })
  })

  it('refuses more than its limit, and counts those that failed no more', async () => {
    const { clock, dial } = setUp({ maxPerGateway: 2 })
    const open = [dial(), dial()]
    await expect(dial()).rejects.toMatchObject({ code: 'SLUICE_STREAM_TOO_MANY' })
    const elsewhere = dial('gw-2')
    await clock.advance(31_000)
    await Promise.allSettled([...open, elsewhere])
    const later = dial()
    await clock.advance(31_000)
    await expect(later).rejects.toMatchObject({ code: 'SLUICE_STREAM_TIMEOUT' })
  })

  it('ends the stream when whoever asked goes away, before it is open and after', async () => {
    const before = setUp()
    const asked = before.dial()
    before.stop.abort()
    await expect(asked).rejects.toMatchObject({ code: 'SLUICE_STREAM_CANCELLED' })
    const after = setUp()
    const opened = after.dial()
    const { id, secret } = after.state.frames[0]!
    const made = after.endpoint()
    after.broker.admit('gw', id, secret)(made)
    made.receive(encodeControl({ c: 'open' }))
    await opened
    after.stop.abort()
    await expect(made.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_CANCELLED' })
    expect(after.sent.join('')).toContain('SLUICE_STREAM_CANCELLED')
  })
})
