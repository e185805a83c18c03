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

/** State messages of many devices over one connection at a rate, or as fast as the broker takes them; how many. */
export async function publishSteadily(
  port: number,
  devices: number,
  perSecond: number,
  durationMs: number,
): Promise<number> {
  const socket = await client(port, `steady-${process.pid}`)
  const startMs = performance.now()
  let sent = 0
  while (performance.now() - startMs < durationMs) {
    const due = Math.min(((performance.now() - startMs) / 1000) * perSecond, sent + 500)
    const packets: Buffer[] = []
    for (; sent < due; sent++) {
      const payload = JSON.stringify({ state: sent % 2 === 0, energy: { power: sent / 10 }, rssi: -60 })
      const topic = `d/${sent % devices}/state`
      packets.push(generate({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }))
    }
    const room = packets.length === 0 || socket.write(Buffer.concat(packets))
    if (room) await new Promise((resolve) => setImmediate(resolve))
    else await once(socket, 'drain')
  }
  // A ping comes back when everything before it was read.
  const answered = once(socket, 'data')
  socket.write(generate({ cmd: 'pingreq' }))
  await answered
  socket.destroy()
  return sent
}
