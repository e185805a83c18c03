import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'

/** A Modbus TCP server whose registers all hold 0x4228 (so that two of them are the float32 42.04): enough for a first value. */
export async function constantServer(): Promise<{ readonly port: number } & AsyncDisposable> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (request) => {
      for (let at = 0; at + 12 <= request.length; at += 12) {
        const count = request.readUInt16BE(at + 10)
        const answer = Buffer.alloc(9 + 2 * count, 0x42)
        request.copy(answer, 0, at, at + 4)
        answer.writeUInt16BE(3 + 2 * count, 4)
        request.copy(answer, 6, at + 6, at + 8)
        answer[8] = 2 * count
        socket.write(answer)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
