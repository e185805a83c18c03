import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A way between two parties that can be made bad. What is set holds for connections there are and those to come. */
export interface TcpProxy extends AsyncDisposable {
  readonly port: number
  /** Connections made so far. */
  readonly accepted: number
  readonly open: number
  /** Cuts every connection; new ones are possible. */
  cut(): void
  /** While unplugged, nobody gets through: connections are cut, new ones refused. */
  unplugged: boolean
  /** While stalled nothing is passed on in that direction and nothing is read: the sender sees a full pipe. */
  stall(direction: Direction, stalled: boolean): void
  /** Bytes a second that get through in each direction; undefined sets no bound. */
  bytesPerSecond: number | undefined
  /** The party on that side is gone without a word: the other one's connection stays open and silent. */
  halfOpen(gone: 'client' | 'server'): void
  /** Where new connections go. */
  target: number
}

type Direction = 'up' | 'down'

interface Pair {
  readonly client: Socket
  readonly server: Socket
}

const TICK_MS = 20

/** Listens on 127.0.0.1 and passes bytes to `target` and back. */
export async function tcpProxy(target: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>()
  const stalled: Record<Direction, boolean> = { up: false, down: false }
  let unplugged = false
  let accepted = 0
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: false }, (client) => {
    if (unplugged) {
      client.resetAndDestroy()
      return
    }
    accepted++
    const server = connect(proxy.target, '127.0.0.1')
    const pair = { client, server }
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) socket.on('error', () => {}).on('close', () => pairs.has(pair) && end())
    carry(client, server, 'up')
    carry(server, client, 'down')
  })

  function carry(from: Socket, to: Socket, direction: Direction): void {
    from.on('data', (bytes) => {
      const sent = to.write(bytes)
      const slow = proxy.bytesPerSecond
      if (slow !== undefined) {
        from.pause()
        setTimeout(() => stalled[direction] || from.resume(), Math.max(TICK_MS, (bytes.length * 1000) / slow))
      } else if (!sent) {
        from.pause()
        to.once('drain', () => stalled[direction] || from.resume())
      }
    })
    if (!stalled[direction]) from.resume()
    else from.pause()
  }

  const proxy: TcpProxy = {
    target,
    bytesPerSecond: undefined,
    get port() {
      return (listener.address() as AddressInfo).port
    },
    get accepted() {
      return accepted
    },
    get open() {
      return pairs.size
    },
    get unplugged() {
      return unplugged
    },
    set unplugged(value) {
      unplugged = value
      if (value) proxy.cut()
    },
    cut() {
      for (const { client, server } of pairs) {
        client.destroy()
        server.destroy()
      }
      pairs.clear()
    },
    stall(direction, value) {
      stalled[direction] = value
      for (const { client, server } of pairs) {
        const from = direction === 'up' ? client : server
        if (value) from.pause()
        else from.resume()
      }
    },
    halfOpen(gone) {
      for (const pair of [...pairs]) {
        // Nobody ends the remaining side's connection: it hears nothing and what it says is swallowed.
        pairs.delete(pair)
        const [left, lost] = gone === 'client' ? [pair.server, pair.client] : [pair.client, pair.server]
        left.removeAllListeners('data').removeAllListeners('close').resume()
        orphans.add(left)
        left.on('close', () => orphans.delete(left))
        lost.destroy()
      }
    },
    async [Symbol.asyncDispose]() {
      proxy.cut()
      for (const orphan of orphans) orphan.destroy()
      const closed = once(listener, 'close')
      listener.close()
      await closed
    },
  }
  const orphans = new Set<Socket>()
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return proxy
}
