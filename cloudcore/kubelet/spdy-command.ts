import type { Duplex } from 'node:stream'
import { SluiceError } from '../../api/errors.ts'
import { SpdyConnection } from '../../api/spdy/connection.ts'
import type { SpdyStream } from '../../api/spdy/stream.ts'
import type { CommandCaller, Wishes } from './command.ts'
import { cutWhenStuck } from './cut-when-stuck.ts'

/** As a kubelet: the streams that were announced have to be there after this. */
const STREAMS_WITHIN_MS = 30_000
/** Takes the streams of a command from a connection that was just upgraded. Throws SLUICE_KUBELET_PROTOCOL. */
export async function spdyCaller(socket: Duplex, wishes: Wishes): Promise<CommandCaller> {
  const gone = new AbortController()
  const streams = new Map<string, SpdyStream>()
  const wanted = new Set(['error'])
  for (const name of ['stdin', 'stdout', 'stderr'] as const) if (wishes[name]) wanted.add(name)
  if (wishes.tty) {
    wanted.add('resize')
    wanted.delete('stderr')
  }
  const complete = Promise.withResolvers<void>()
  const connection = new SpdyConnection(socket, {
    role: 'server',
    maxStreams: 8,
    onStream: (stream) => {
      const type = stream.headers.get('streamtype') ?? ''
      if (streams.has(type) || !(wanted.has(type) || type === 'stderr' || type === 'resize')) {
        stream.destroy()
        return
      }
      stream.accept()
      streams.set(type, stream)
      if ([...wanted].every((name) => streams.has(name))) complete.resolve()
    },
  })
  void connection.closed.then(() => {
    gone.abort()
    complete.reject(new SluiceError('SLUICE_STREAM_CANCELLED', 'whoever ran the command went away'))
  })
  const late = setTimeout(() => {
    const message = `not all streams of a command came within ${STREAMS_WITHIN_MS / 1000} s`
    complete.reject(new SluiceError('SLUICE_KUBELET_PROTOCOL', message))
    connection.destroy()
  }, STREAMS_WITHIN_MS)
  await complete.promise.finally(() => clearTimeout(late))
  const error = streams.get('error')!
  return {
    stdin: streams.get('stdin'),
    stdout: streams.get('stdout'),
    stderr: streams.get('stderr'),
    resize: streams.get('resize'),
    gone: gone.signal,
    async finish(status) {
      error.end(status)
      for (const stream of streams.values()) stream.end()
      using _ = cutWhenStuck(
        () => socket.writableLength,
        () => connection.destroy(),
      )
      await connection.close()
    },
  }
}
