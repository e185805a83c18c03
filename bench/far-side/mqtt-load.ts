import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { generate } from 'mqtt-packet'

/**
 * Raw MQTT clients: packets made beforehand, written to sockets as fast as they are taken, so that the broker and not
 * the load is what is measured. Also what the benchmark's own process runs as a far side.
 */
const PAYLOAD = Buffer.alloc(100, 0x61)

/** A subscriber that counts messages by walking over the fixed headers. */
class Counter {
  count = 0
  #left = 0
  #state: 'type' | 'length' = 'type'
  #isPublish = false
  #length = 0
  #shift = 0

  take(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at)
        this.#left -= step
        at += step
        continue
      }
      const byte = chunk[at++]!
      if (this.#state === 'type') {
        this.#isPublish = byte >> 4 === 3
        this.#state = 'length'
        this.#length = 0
        this.#shift = 0
        continue
      }
      this.#length += (byte & 0x7f) * 2 ** this.#shift
      this.#shift += 7
      if (byte >= 0x80) continue
      this.#state = 'type'
      this.#left = this.#length
      if (this.#isPublish) this.count++
    }
  }
}

async function client(port: number, id: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.write(
    generate({ cmd: 'connect', clientId: id, protocolVersion: 4, protocolId: 'MQTT', clean: true, keepalive: 0 }),
  )
  await once(socket, 'data')
  return socket
}

/** Messages a second that one subscriber gets from `publishers` flooding QoS 0, each with a topic of its own. */
export async function flood(port: number, publishers: number, durationMs: number): Promise<number> {
  const subscriber = await client(port, `sub-${process.pid}`)
  const counter = new Counter()
  subscriber.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'b/#', qos: 0 }] }))
  await once(subscriber, 'data')
  subscriber.on('data', (chunk: Buffer) => counter.take(chunk))
  const sockets = await Promise.all(
    Array.from({ length: publishers }, (_, n) => client(port, `pub-${process.pid}-${n}`)),
  )
  let running = true
  const batch = 50
  for (const [n, socket] of sockets.entries()) {
    const packet = generate({ cmd: 'publish', topic: `b/${n}`, payload: PAYLOAD, qos: 0, dup: false, retain: false })
    const many = Buffer.concat(Array.from({ length: batch }, () => packet))
    const more = () => {
      if (!running) return
      socket.write(many, () => setImmediate(more))
    }
    more()
  }
  await new Promise((resolve) => setTimeout(resolve, durationMs / 4))
  const [count, from] = [counter.count, performance.now()]
  await new Promise((resolve) => setTimeout(resolve, durationMs))
  const perSecond = ((counter.count - count) * 1000) / (performance.now() - from)
  running = false
  for (const socket of [...sockets, subscriber]) socket.destroy()
  return perSecond
}
