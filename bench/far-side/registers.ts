import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { machineMs } from '../harness.ts'

/**
 * A Modbus TCP far side in a process of its own, made to be quick; whoever connects to another loopback address talks
 * to another device. Holding registers:
 *
 * - 0 to 999 hold the machine's milliseconds (the lowest 16 bits) at the moment of the answer, so they change at every read;
 * - 1000 to 1999 hold the milliseconds of the moment when they last changed, which they do at the first read after
 *   each `changeEveryMs` (first argument; devices take turns), and never before the first of these;
 * - 2000 and above keep what is written to them; each write is told to the parent as `{value, atMs}` in hundredths of ms.
 */
const [changeEveryMs = 2000, devices = 1] = process.argv.slice(2).map(Number)
const stored = new Map<number, number>()
let taken = 0

const server = createServer({ noDelay: true }, (socket) => {
  let rest = Buffer.alloc(0)
  let changedMs = 0
  let nextChangeMs = machineMs() + 2 * changeEveryMs + (taken++ * changeEveryMs) / devices
  const registerValue = (register: number, nowMs: number): number => {
    if (register >= 2000) return stored.get(register) ?? 0
    return Math.floor(register < 1000 ? nowMs : changedMs) & 0xffff
  }
  const answer = (request: Buffer): Buffer => {
    const code = request[7]!
    const first = request.readUInt16BE(8)
    if (code === 6 || code === 16) {
      const value = request.readUInt16BE(code === 6 ? 10 : 13)
      process.send?.({ value, atMs: machineMs() })
      stored.set(first, value)
      const out = Buffer.from(request.subarray(0, 12))
      out.writeUInt16BE(6, 4)
      return out
    }
    const nowMs = machineMs()
    if (first >= 1000 && nowMs >= nextChangeMs) {
      changedMs = nowMs
      nextChangeMs += changeEveryMs
    }
    const count = request.readUInt16BE(10)
    const out = Buffer.alloc(9 + 2 * count)
    request.copy(out, 0, 0, 8)
    out.writeUInt16BE(3 + 2 * count, 4)
    out[8] = 2 * count
    for (let i = 0; i < count; i++) out.writeUInt16BE(registerValue(first + i, nowMs), 9 + 2 * i)
    return out
  }
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const answers: Buffer[] = []
    while (bytes.length >= 12) {
      const length = 6 + bytes.readUInt16BE(4)
      if (bytes.length < length) break
      answers.push(answer(bytes.subarray(0, length)))
      bytes = bytes.subarray(length)
    }
    rest = bytes
    if (answers.length > 0) socket.write(Buffer.concat(answers))
  })
})
server.listen(0, '0.0.0.0', () => process.send?.({ port: (server.address() as AddressInfo).port }))
process.once('disconnect', () => process.exit(0))
