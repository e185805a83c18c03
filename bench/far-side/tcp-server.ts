import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'

// The quickest server there can be in Node: every request is taken for a read of ten registers, one write for
// everything that came at once. A slower one would flatter the client that is measured.
const registers = 10
const answerLength = 9 + 2 * registers
const requestLength = 12

const server = createServer({ noDelay: true }, (socket) => {
  let rest = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const count = Math.floor(bytes.length / requestLength)
    const out = Buffer.alloc(count * answerLength)
    for (let i = 0; i < count; i++) {
      const from = i * requestLength
      const to = i * answerLength
      out[to] = bytes[from]!
      out[to + 1] = bytes[from + 1]!
      out[to + 5] = 3 + 2 * registers
      out[to + 6] = bytes[from + 6]!
      out[to + 7] = 3
      out[to + 8] = 2 * registers
      for (let r = 0; r < registers; r++) out[to + 10 + 2 * r] = r + 1
    }
    rest = bytes.subarray(count * requestLength)
    if (count > 0) socket.write(out)
  })
})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.once('disconnect', () => process.exit(0))
