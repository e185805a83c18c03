import { Duplex, PassThrough, type Readable } from 'node:stream'
import { SluiceError } from '../../../../api/errors.ts'
import type { SpdyConnection } from '../../../../api/spdy/connection.ts'
import type { SpdyStream } from '../../../../api/spdy/stream.ts'
import type { ExecSession, WindowSize } from '../runtime.ts'
import { type Dial, openSpdy, openStream } from './stream-client.ts'

/** Kubernetes' remote command protocol; the same framing as v5 over SPDY, and what containerd 1.6 knows. */
const COMMANDS = 'v4.channel.k8s.io'
const PORTS = 'portforward.k8s.io'

interface Streams {
  readonly stdin: boolean
  readonly tty: boolean
  readonly size?: WindowSize
  /** A container that was attached to may be let go without a word; a command has a result, or was lost. */
  readonly attached?: boolean
}

/** A command, or what a container itself says and hears, over the address the runtime gave. */
export async function openCommand(
  address: string,
  { stdin, tty, size, attached = false }: Streams,
  dial: Dial,
  signal: AbortSignal,
): Promise<ExecSession> {
  const connection = await openSpdy(address, COMMANDS, dial, signal)
  const abort = () => connection.destroy()
  signal.addEventListener('abort', abort, { once: true })
  void connection.closed.finally(() => signal.removeEventListener('abort', abort))
  try {
    const open = (streamtype: string) => openStream(connection, { streamtype })
    const error = connection.open(new Map([['streamtype', 'error']]))
    // Heard from the beginning: a short command has ended before all streams are told to be open.
    const said = words(error)
    // All at once: the runtime begins when it has as many as it was promised.
    const [, input, output, errors, resize] = await Promise.all([
      error.accepted,
      stdin ? open('stdin') : undefined,
      open('stdout'),
      tty ? undefined : open('stderr'),
      tty ? open('resize') : undefined,
    ])
    if (size !== undefined) writeSize(resize, size)
    const exited = exitCode(said, attached)
    exited.catch(() => undefined)
    void exited.finally(() => closeAfter(connection, [output, errors])).catch(() => undefined)
    return {
      stdin: input,
      stdout: readable(output),
      stderr: errors === undefined ? undefined : readable(errors),
      resize: (next) => writeSize(resize, next),
      exited,
      async [Symbol.asyncDispose]() {
        connection.destroy()
        await exited.catch(() => undefined)
      },
    }
  } catch (error) {
    connection.destroy()
    throw signal.aborted ? signal.reason : error
  }
}

const writeSize = (stream: SpdyStream | undefined, { columns, rows }: WindowSize): void => {
  if (stream?.writable === true) stream.write(JSON.stringify({ Width: columns, Height: rows }))
}

/** The result is told before the last output is read: the connection stays until that is. */
async function closeAfter(connection: SpdyConnection, outputs: readonly (SpdyStream | undefined)[]): Promise<void> {
  await Promise.all(
    outputs.map(
      (stream) =>
        new Promise<void>((resolve) => {
          if (stream === undefined || stream.readableEnded || stream.destroyed) resolve()
          else stream.once('end', resolve).once('close', resolve)
        }),
    ),
  )
  connection.destroy()
}

interface StatusWords {
  readonly status?: unknown
  readonly message?: unknown
  readonly details?: { readonly causes?: readonly { readonly reason?: unknown; readonly message?: unknown }[] }
}

/** What a command says. One that could not be begun has its outputs broken off; why is told by its result. */
function readable(stream: SpdyStream): Readable {
  const output = new PassThrough()
  stream.pipe(output)
  stream.once('close', () => output.end())
  output.once('close', () => stream.destroy())
  return output
}

const MAX_WORDS_BYTES = 64 * 1024

/** What is said on a stream; the runtime breaks it off behind its last word rather than end it. */
function words(stream: Duplex): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    let bytes = 0
    stream.on('data', (part: Buffer) => {
      bytes += part.length
      if (bytes <= MAX_WORDS_BYTES) parts.push(part)
    })
    const over = () => resolve(Buffer.concat(parts).toString('utf8'))
    stream.once('end', over).once('close', over)
  })
}

/** The last word on the error stream is a Status of Kubernetes. */
async function exitCode(heard: Promise<string>, attached: boolean): Promise<number | undefined> {
  const said = await heard
  if (said === '' && attached) return undefined
  if (said === '') {
    throw new SluiceError(
      'SLUICE_POD_RUNTIME_STREAM',
      'The container runtime was lost before the command had a result',
      {
        hint: 'The command may still run, or have ended in any way: look, and run it again.',
      },
    )
  }
  const { status, message, details } = readStatus(said)
  if (status === 'Success') return 0
  const code = details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message
  if (code !== undefined && Number.isInteger(Number(code))) return Number(code)
  throw new SluiceError('SLUICE_POD_EXEC', `The command could not be run: ${String(message ?? said).slice(0, 512)}`, {
    hint: 'Check that the program is in the image and may be executed.',
  })
}

function readStatus(said: string): StatusWords {
  try {
    const read: unknown = JSON.parse(said)
    if (typeof read === 'object' && read !== null) return read
  } catch {
    // Older runtimes say it in plain words.
  }
  return { message: said }
}

/** A connection to a TCP port in the network of a pod. */
export async function openPort(address: string, port: number, dial: Dial, signal: AbortSignal): Promise<Duplex> {
  const connection = await openSpdy(address, PORTS, dial, signal)
  const abort = () => connection.destroy()
  signal.addEventListener('abort', abort, { once: true })
  void connection.closed.finally(() => signal.removeEventListener('abort', abort))
  const headers = { port: String(port), requestid: '0' }
  const error = connection.open(new Map(Object.entries({ ...headers, streamtype: 'error' })))
  const said = words(error)
  await error.accepted
  const data = await openStream(connection, { ...headers, streamtype: 'data' })
  return new PortConnection(data, said, port, () => connection.destroy())
}

/**
 * Bytes both ways. That nobody listens is told after the stream was taken and may come behind its end, so that an end is
 * passed on only when nothing of the kind was said.
 */
class PortConnection extends Duplex {
  readonly #data: SpdyStream
  readonly #close: () => void

  constructor(data: SpdyStream, said: Promise<string>, port: number, close: () => void) {
    super({ allowHalfOpen: true })
    this.#data = data
    this.#close = close
    // Whoever has let go of it hears no more; whoever reads it does.
    this.on('error', () => {})
    data.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) data.pause()
    })
    const over = () =>
      void said.then((words) => {
        if (words !== '') this.destroy(noPort(port, words))
        else if (!this.destroyed) this.push(null)
      })
    data.once('end', over).once('close', () => {
      if (!data.readableEnded) over()
    })
  }

  override _read(): void {
    this.#data.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#data.destroyed) done()
    else this.#data.write(chunk, () => done())
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#data.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#close()
    done(error)
  }
}

const noPort = (port: number, said: string): SluiceError =>
  new SluiceError('SLUICE_POD_PORT', `Nothing listens on port ${port} of the pod: ${said.slice(0, 256)}`, {
    hint: 'Check the port, and that the program listens on localhost or all addresses.',
  })
