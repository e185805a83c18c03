import { Readable, Writable } from 'node:stream'
import type { WebSocket } from 'ws'
import type { CommandCaller, Wishes } from './command.ts'
import { cutWhenStuck } from './cut-when-stuck.ts'

/** Only the newest can say that input has ended: message 255, then the channel. */
export const COMMAND_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const

const STDIN = 0
const STDOUT = 1
const STDERR = 2
const ERROR = 3
const RESIZE = 4
const CLOSE = 255
const BUFFER_BYTES = 256 * 1024
const MAX_SEND_BYTES = 64 * 1024

/** The caller of a command over a WebSocket: the first byte of each message is its channel. */
export function websocketCaller(socket: WebSocket, wishes: Wishes): CommandCaller {
  const gone = new AbortController()
  const full = new Set<number>()
  const flow = () => {
    if (full.size > 0) socket.pause()
    else socket.resume()
  }
  const input = (channel: number) =>
    new Readable({
      highWaterMark: BUFFER_BYTES,
      read: () => {
        if (full.delete(channel)) flow()
      },
      destroy: (error, done) => {
        if (full.delete(channel)) flow()
        done(error)
      },
    }).on('error', () => {})
  const inputs = new Map<number, Readable>()
  if (wishes.stdin) inputs.set(STDIN, input(STDIN))
  if (wishes.tty) inputs.set(RESIZE, input(RESIZE))
  socket.on('message', (data, isBinary) => {
    const bytes = data as Buffer
    const channel = bytes[0]
    if (!isBinary || channel === undefined) return
    if (channel === CLOSE && socket.protocol === COMMAND_PROTOCOLS[0]) {
      const ended = inputs.get(bytes[1] ?? CLOSE)
      if (ended !== undefined && !ended.readableEnded && !ended.destroyed) ended.push(null)
      return
    }
    const target = inputs.get(channel)
    // Input nobody asked for is thrown away, as kubelets do.
    if (target === undefined || target.destroyed || bytes.length === 1) return
    if (!target.push(bytes.subarray(1))) {
      full.add(channel)
      flow()
    }
  })
  const send = (channel: number, data: Uint8Array, done: () => void) => {
    const message = Buffer.allocUnsafe(data.length + 1)
    message[0] = channel
    message.set(data, 1)
    socket.send(message, { binary: true }, () => done())
  }
  const output = (channel: number) =>
    new Writable({
      write(data: Buffer, _encoding, done) {
        for (let from = 0; from < data.length; from += MAX_SEND_BYTES) {
          const last = from + MAX_SEND_BYTES >= data.length
          send(channel, data.subarray(from, from + MAX_SEND_BYTES), last ? done : () => {})
        }
        if (data.length === 0) done()
      },
    }).on('error', () => {})
  socket.on('error', () => {})
  socket.on('close', () => {
    gone.abort()
    for (const each of inputs.values()) if (!each.destroyed && !each.readableEnded) each.push(null)
  })
  const stdout = wishes.stdout ? output(STDOUT) : undefined
  const stderr = wishes.stderr && !wishes.tty ? output(STDERR) : undefined
  // An empty message on the lowest channel says that the command is connected.
  send(stdout !== undefined ? STDOUT : stderr !== undefined ? STDERR : ERROR, Buffer.alloc(0), () => {})
  return {
    stdin: inputs.get(STDIN),
    resize: inputs.get(RESIZE),
    stdout,
    stderr,
    gone: gone.signal,
    finish: (status) =>
      new Promise((resolve) => {
        const cut = cutWhenStuck(
          () => socket.bufferedAmount,
          () => socket.terminate(),
        )
        socket.on('close', () => {
          cut[Symbol.dispose]()
          resolve()
        })
        socket.resume()
        send(ERROR, Buffer.from(status), () => socket.close(1000))
      }),
  }
}
