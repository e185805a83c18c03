import { describe, expect, it } from 'vitest'
import { brokersUnderTest, connectClient } from './test-brokers.test-helper.ts'

describe.each(brokersUnderTest)('the %s', (_name, start) => {
  it('carries messages between the agent and foreign clients', async () => {
    await using under = await start()
    await using client = await connectClient(under.port)
    await client.mqtt.subscribeAsync('from/agent/+', { qos: 1 })
    const heard: string[] = []
    const first = Promise.withResolvers<void>()
    using _subscription = under.broker.local.subscribe('from/client/#', (topic, payload) => {
      heard.push(`${topic}=${Buffer.from(payload).toString()}`)
      first.resolve()
    })
    const ready = Promise.withResolvers<void>()
    using _probe = under.broker.local.subscribe('probe', () => ready.resolve())
    await client.mqtt.publishAsync('probe', 'x', { qos: 1, retain: true })
    await ready.promise
    under.broker.local.publish('from/agent/a', Buffer.from('hello'), { qos: 1 })
    await client.received(1)
    await client.mqtt.publishAsync('from/client/b', 'there', { qos: 1 })
    await first.promise
    expect(client.messages).toMatchObject([{ topic: 'from/agent/a', text: 'hello' }])
    expect(heard).toEqual(['from/client/b=there'])
  })

  it('gives the agent what was retained before, marked as such', async () => {
    await using under = await start()
    await using client = await connectClient(under.port)
    await client.mqtt.publishAsync('state/x', 'old', { qos: 1, retain: true })
    const got = Promise.withResolvers<readonly [string, boolean]>()
    using _subscription = under.broker.local.subscribe('state/+', (_topic, payload, retained) =>
      got.resolve([Buffer.from(payload).toString(), retained]),
    )
    expect(await got.promise).toEqual(['old', true])
  })

  it('survives fifty publishers flooding and a subscriber leaving in the middle', async () => {
    await using under = await start()
    await using watcher = await connectClient(under.port)
    await using leaving = await connectClient(under.port)
    await leaving.mqtt.subscribeAsync('flood/#')
    await watcher.mqtt.subscribeAsync('end')
    const publishers = await Promise.all(Array.from({ length: 50 }, () => connectClient(under.port)))
    const payload = Buffer.alloc(100, 1)
    for (let round = 0; round < 40; round++) {
      if (round === 20) leaving.mqtt.stream.destroy()
      for (const { mqtt } of publishers) for (let n = 0; n < 10; n++) mqtt.publish(`flood/${n}`, payload)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(publishers.map(({ mqtt }) => mqtt.publishAsync('flood/last', '', { qos: 1 })))
    await publishers[0]!.mqtt.publishAsync('end', 'yes', { qos: 1 })
    await watcher.received(1)
    await Promise.all(publishers.map((publisher) => publisher[Symbol.asyncDispose]()))
  })

  it('keeps the order of one publisher although some messages are retained and some acknowledged', async () => {
    await using under = await start()
    await using reader = await connectClient(under.port)
    await using writer = await connectClient(under.port)
    await reader.mqtt.subscribeAsync('mix/#', { qos: 1 })
    const kinds = [{ qos: 1, retain: true }, { qos: 0 }, { qos: 0, retain: true }, { qos: 1 }] as const
    const sent = Array.from({ length: 200 }, (_, n) => String(n))
    await Promise.all(sent.map((text, n) => writer.mqtt.publishAsync('mix/a', text, kinds[n % kinds.length]!)))
    await reader.received(sent.length)
    expect(reader.messages.map(({ text }) => Number(text)).sort((a, b) => a - b)).toEqual(sent.map(Number))
  })
})
