import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Clock, Timer } from '../../../../api/clock.ts'
import { SluiceError } from '../../../../api/errors.ts'
import { LOG_LIMITS, type LogLimits, rotateLog } from '../../logs/rotation.ts'

/** As containerd cuts lines (`max_container_log_line_size`). */
const MAX_LINE_BYTES = 16 * 1024
const CHUNK_BYTES = 64 * 1024
/** So much is taken of a container, then it waits: 8 MiB a second at most, which is more than any log that is read. */
const BURST_BYTES = 1024 * 1024
const PAUSE_MS = 125

export type StreamName = 'stdout' | 'stderr'

/** Turns what a container writes into lines `time stream P|F text`; `P` says that the line goes on. */
export class CriLines {
  readonly #stream: StreamName
  #rest: Buffer = Buffer.alloc(0)

  constructor(stream: StreamName) {
    this.#stream = stream
  }

  take(chunk: Buffer, time: string): Buffer {
    const parts: Buffer[] = []
    const full = Buffer.from(`${time} ${this.#stream} F `)
    const partial = Buffer.from(`${time} ${this.#stream} P `)
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (;;) {
      const end = bytes.indexOf(0x0a)
      const length = end < 0 ? bytes.length : end
      if (length > MAX_LINE_BYTES) {
        parts.push(partial, bytes.subarray(0, MAX_LINE_BYTES), NEW_LINE)
        bytes = bytes.subarray(MAX_LINE_BYTES)
        continue
      }
      if (end < 0) break
      parts.push(full, bytes.subarray(0, end + 1))
      bytes = bytes.subarray(end + 1)
    }
    this.#rest = Buffer.from(bytes)
    return Buffer.concat(parts)
  }

  /** What is left when the container has ended: a line without its end. */
  rest(time: string): Buffer {
    const rest = this.#rest
    this.#rest = Buffer.alloc(0)
    return rest.length === 0 ? rest : Buffer.concat([Buffer.from(`${time} ${this.#stream} F `), rest, NEW_LINE])
  }
}

const NEW_LINE = Buffer.from('\n')

export interface LogPumpOptions {
  /** Named pipes that the sandbox keeps open: neither our end nor the container's loses what is in them. */
  readonly pipes: Readonly<Record<StreamName, string>>
  readonly logFile: string
  readonly clock: Clock
  readonly limits?: LogLimits
  /** Sees every chunk as it comes: whoever is attached. */
  readonly onChunk: (stream: StreamName, chunk: Buffer) => void
  readonly onError: (error: SluiceError) => void
}

/**
 * Writes what a container says into its log. A disk that is full loses lines and says so; it never holds up the container
 * or the agent.
 */
export class LogPump implements Disposable {
  readonly #options: LogPumpOptions
  readonly #ends: {
    readonly stream: StreamName
    readonly fd: number
    readonly socket: Socket
    readonly lines: CriLines
  }[]
  #file: number
  #failed = false
  /** Of the file that is written. */
  #bytes = 0
  /** Read since the last pause. */
  #burst = 0
  #pause: Timer | undefined

  constructor(options: LogPumpOptions) {
    this.#options = options
    this.#file = this.#open()
    this.#ends = (['stdout', 'stderr'] as const).map((stream) => {
      const fd = openSync(options.pipes[stream], READ_AT_ONCE)
      const socket = new Socket({ fd, readable: true, writable: false })
      const lines = new CriLines(stream)
      socket.on('data', (chunk: Buffer) => {
        this.#write(stream, lines, chunk)
        this.#hold(chunk.length)
      })
      socket.on('error', () => {})
      socket.unref()
      return { stream, fd, socket, lines }
    })
  }

  /** Goes on in a new file at the same path. */
  reopen(): void {
    const before = this.#file
    this.#file = this.#open()
    closeSync(before)
  }

  #open(): number {
    const file = openSync(this.#options.logFile, 'a', 0o640)
    this.#bytes = fstatSync(file).size
    return file
  }

  /** A container that says more than a disk should take waits in its own write, and nobody else does. */
  #hold(bytes: number): void {
    this.#burst += bytes
    if (this.#pause !== undefined) return
    const { clock } = this.#options
    if (this.#burst < BURST_BYTES) return
    for (const { socket } of this.#ends) socket.pause()
    this.#pause = clock.after(
      PAUSE_MS,
      () => {
        this.#pause = undefined
        this.#burst = 0
        for (const { socket } of this.#ends) socket.resume()
      },
      true,
    )
  }

  /** Takes what is still in the pipes; the container has ended. */
  finish(): void {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    for (const { stream, fd, lines, socket } of this.#ends) {
      socket.pause()
      for (;;) {
        const count = readSome(fd, buffer)
        if (count === 0) break
        this.#write(stream, lines, Buffer.from(buffer.subarray(0, count)))
      }
      this.#append(lines.rest(this.#time))
    }
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#pause?.cancel()
    for (const { socket } of this.#ends) socket.destroy()
    if (this.#file >= 0) closeSync(this.#file)
    this.#file = -1
  }

  #write(stream: StreamName, lines: CriLines, chunk: Buffer): void {
    this.#append(lines.take(chunk, this.#time))
    this.#options.onChunk(stream, chunk)
  }

  #append(bytes: Buffer): void {
    if (bytes.length === 0 || this.#file < 0) return
    try {
      writeSync(this.#file, bytes)
      this.#failed = false
      this.#bytes += bytes.length
      // Where it is written it is known at once; a look every few seconds would come too late for a flood.
      if (this.#bytes >= (this.#options.limits ?? LOG_LIMITS).maxBytes) this.#rotate()
    } catch (cause) {
      if (this.#failed) return
      this.#failed = true
      this.#options.onError(
        new SluiceError('SLUICE_POD_LOG_LOST', `Lines of ${this.#options.logFile} are lost: ${String(cause)}`, {
          hint: 'Free space on the disk of the gateway; logging goes on by itself.',
          cause,
        }),
      )
    }
  }

  #rotate(): void {
    const { limits = LOG_LIMITS, logFile, clock } = this.#options
    // Not tried again with every line when it cannot be done.
    this.#bytes = 0
    rotateLog(logFile, limits, clock.now())
    this.reopen()
  }

  get #time(): string {
    return new Date(this.#options.clock.now()).toISOString()
  }
}

/** O_RDONLY | O_NONBLOCK: opening a pipe and reading it never waits. */
const READ_AT_ONCE = 0o4000

function readSome(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0
    throw error
  }
}
