import { type Duplex, PassThrough } from 'node:stream'
import { SluiceError } from '../../../../api/errors.ts'
import type { ExecSession, WindowSize } from '../runtime.ts'

/** One octet of the stream, three of nothing, four of the length. */
const HEADER_BYTES = 8
const STREAMS = ['stdin', 'stdout', 'stderr'] as const

/** Takes apart what podman sends of a command without a terminal; what is none of it throws. */
export class Frames {
  #held: Buffer = Buffer.alloc(0)

  take(chunk: Buffer): { readonly stream: (typeof STREAMS)[number]; readonly data: Buffer }[] {
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const frames = []
    while (bytes.length >= HEADER_BYTES) {
      const stream = STREAMS[bytes[0]!]
      if (stream === undefined) {
        throw new SluiceError('SLUICE_POD_RUNTIME_WORDS', `podman sent output of a stream ${bytes[0]}`)
      }
      const length = bytes.readUInt32BE(4)
      const there = bytes.length - HEADER_BYTES
      if (there === 0 && length > 0) break
      // A long one is passed on as it comes: the rest gets the header of what is left.
      const data = bytes.subarray(HEADER_BYTES, HEADER_BYTES + Math.min(length, there))
      if (data.length > 0) frames.push({ stream, data })
      bytes = bytes.subarray(HEADER_BYTES + data.length)
      if (data.length < length) {
        const rest = Buffer.alloc(HEADER_BYTES)
        rest[0] = STREAMS.indexOf(stream)
        rest.writeUInt32BE(length - data.length, 4)
        bytes = Buffer.concat([rest, bytes])
        break
      }
    }
    this.#held = Buffer.from(bytes)
    return frames
  }
}

export interface CommandParts {
  readonly socket: Duplex
  readonly stdin: boolean
  readonly tty: boolean
  readonly resize: (size: WindowSize) => void
  /** Asked once, when the connection has ended. */
  readonly result: () => Promise<number | undefined>
}

/** The streams of a command over a connection that was taken over. */
export function commandSession({ socket, stdin, tty, resize, result }: CommandParts): ExecSession {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const frames = new Frames()
  const over = Promise.withResolvers<void>()
  const flow = () => {
    if (!stdout.writableNeedDrain && !stderr.writableNeedDrain) socket.resume()
  }
  for (const each of [stdout, stderr])
    each
      .on('drain', flow)
      .on('error', () => {})
      .once('close', flow)
  socket.on('data', (chunk: Buffer) => {
    try {
      const parts = tty ? [{ stream: 'stdout', data: chunk } as const] : frames.take(chunk)
      for (const { stream, data } of parts) {
        const to = stream === 'stderr' ? stderr : stdout
        // Somebody who does not listen any more holds up nobody.
        if (to.writable && !to.write(data)) socket.pause()
      }
    } catch (error) {
      socket.destroy(error as Error)
    }
  })
  const end = () => {
    stdout.end()
    stderr.end()
    over.resolve()
  }
  socket.once('end', end).once('close', end)
  const exited = over.promise.then(result)
  exited.catch(() => undefined)
  if (!stdin && !tty) socket.end()
  return {
    stdin: stdin ? socket : undefined,
    stdout,
    stderr: tty ? undefined : stderr,
    resize,
    exited,
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await exited.catch(() => undefined)
    },
  }
}
