import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openRequest } from '../../api/client/http.ts'
import type { StreamEvent } from '../../api/views.ts'
import { ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { Assembly } from '../harness/assembly.ts'
import { twinOf } from '../harness/devices.ts'
import { counterModel } from '../harness/fleet.ts'
import { isReported, readStream } from '../harness/stream.ts'

const BATCHES = 300
const ROWS = 500

let house: Assembly
beforeAll(async () => {
  house = await Assembly.start()
  await house.createModel('counter', counterModel)
}, 60_000)
afterAll(() => house?.[Symbol.asyncDispose]())
beforeEach(() => house.tellOnFailure())

async function subscribe(after: string): Promise<IncomingMessage> {
  const signal = AbortSignal.timeout(60_000)
  const headers = { 'last-event-id': after, accept: 'text/event-stream' }
  return openRequest(house.endpoint(), { path: '/v1/events', headers, signal, idleTimeoutMs: 0 })
}

describe('a subscriber that reads slowly', { timeout: 60_000 }, () => {
  it('holds up neither the gateway nor other subscribers, and gets everything in the end', async () => {
    const device = await house.createDevice('fast', { ...house.counterDevice(), nodeName: 'gw-fast' })
    const key = `${house.namespace}/fast`
    using agent = await ScriptedAgent.open(await house.joinScripted('gw-fast'))
    await agent.hello()
    await agent.object('Device', key)
    await using reader = readStream(house.endpoint, {}, '0')
    await agent.batch({ d: [[key, device.metadata.uid!]], r: [[0, 'count', 0, Date.now()]] })
    await reader.until(isReported, 'the first value')
    const slow = await subscribe('0')
    slow.pause()

    const sent = performance.now()
    let next = 1
    for (let batch = 0; batch < BATCHES; batch++) {
      const r = Array.from({ length: ROWS }, () => [0, 'count', next++, Date.now()] as const)
      await agent.batch({ d: [[key, device.metadata.uid!]], r })
    }
    const last = next - 1
    await reader.until((e) => isReported(e) && e.value === last, 'the other subscriber has everything')
    await house.devices.until('fast', (d) => twinOf(d, 'count')?.reported?.value === last, 'and so has the status')
    const tookMs = performance.now() - sent
    expect(reader.missed).toBe(0)
    expect(reader.events.filter(isReported).map(({ value }) => value)).toEqual(
      Array.from({ length: last + 1 }, (_, n) => n),
    )
    expect(house.core.hub.connected).toBe(1)

    const values: number[] = []
    let text = ''
    slow.setEncoding('utf8')
    slow.on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const data = /^data: (\[.*)$/m.exec(text.slice(0, end))?.[1]
        text = text.slice(end + 2)
        // After a standstill of the machine there is more to tell than values.
        for (const event of data === undefined ? [] : (JSON.parse(data) as StreamEvent[])) {
          if (isReported(event)) values.push(Number(event.value))
        }
        if (values.at(-1) === last) slow.destroy()
      }
    })
    slow.on('error', () => {})
    slow.resume()
    await once(slow, 'close')
    expect(values).toEqual(Array.from({ length: last + 1 }, (_, n) => n))
    console.log(JSON.stringify({ values: last, perSecond: Math.round((last * 1000) / tookMs) }))
  })
})
