import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import { strike } from '../../hil/line-faults.ts'
import { TcpUnits } from '../../hil/modbus-unit.ts'
import { seededRandom } from '../../hil/random.ts'

// Answers late, twice, in pieces, out of order or not at all. It damages nothing: TCP does not either.
const faults = { lose: 0.01, duplicate: 0.03, delay: 0.05, delayMs: 70, split: 0.1, splitMs: 1 }
const random = seededRandom(11)

function send(socket: Socket, frame: Uint8Array): void {
  const parts = strike(frame, faults, random, () => undefined)
  const whole = Buffer.concat(parts.map(({ bytes }) => bytes))
  const laterMs = parts[0]?.pauseMs ?? 0
  // A frame in pieces must stay in one piece as to other frames, or the stream would be none.
  if (laterMs > 0) setTimeout(() => socket.write(whole), laterMs * (0.5 + random()))
  else if (parts.length === 2) for (const { bytes } of parts) socket.write(bytes)
  else if (whole.length > 0) setImmediate(() => socket.write(whole))
}

const server = createServer({ noDelay: true }, (socket) => {
  const units = new TcpUnits()
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    const answers = Buffer.from(units.push(chunk))
    for (let at = 0; at < answers.length; ) {
      const end = at + 6 + answers.readUInt16BE(at + 4)
      send(socket, answers.subarray(at, end))
      at = end
    }
  })
})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.once('disconnect', () => process.exit(0))
