import { expect, it } from 'vitest'
import { type MqttClient, MqttPublisher } from './mqtt-publisher.ts'
import { StreamHub } from './stream.ts'

class FakeBroker implements MqttClient {
  connected = false
  readonly messages: [topic: string, payload: unknown, retain: boolean][] = []
  #connect: () => void = () => {}
  publish(topic: string, payload: string, options: { retain: boolean }, done: (error?: Error) => void) {
    this.messages.push([topic, JSON.parse(payload), options.retain])
    done()
  }
  on(_: 'connect', listener: () => void) {
    this.#connect = listener
  }
  end(_: boolean, done: () => void) {
    done()
  }
  comeUp() {
    this.connected = true
    this.#connect()
  }
}

it('keeps the newest value of each topic while the broker is away, counts what does not fit, and never goes back', async () => {
  const stream = new StreamHub()
  const client = new FakeBroker()
  await using publisher = new MqttPublisher({ stream, client, maxQueued: 2 })
  const report = (device: string, value: number, atMs: number) =>
    stream.publish({
      ...{ id: 1, gateway: 'gw', seq: 1, backfill: false, receivedMs: 0 },
      body: { d: [[`n/${device}`, 'u']], r: [[0, 'p', value, atMs]] },
    })
  report('a', 1, 1000)
  report('a', 2, 2000)
  report('b', 1, 1000)
  report('c', 1, 1000)
  client.comeUp()
  report('a', 0, 500)
  const at = (ms: number) => new Date(ms).toISOString()
  expect(client.messages).toEqual([
    ['sluice/n/a/p', { value: 2, at: at(2000), quality: 'good' }, true],
    ['sluice/n/b/p', { value: 1, at: at(1000), quality: 'good' }, true],
  ])
  expect([publisher.published, publisher.dropped]).toEqual([2, 1])
})
