import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Session, connect } from 'node:http2'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { type Clock, delay } from '../../../../api/clock.ts'
import { Refusal, refusal } from './channel.ts'
import { CRI } from './cri.ts'

export interface StartsOptions {
  /** Where containerd listens. */
  readonly socket: string
  /** A file for every start that was asked for and not answered. */
  readonly folder: string
  readonly clock: Clock
}

/** Longer than any start takes: a program that is not there, a disk that is slow. */
const START_MS = 120_000
const LOOK_AGAIN_MS = 50

/**
 * Starts containers, each once, whoever is killed meanwhile. containerd gives up what it does for somebody whose
 * connection is gone, and kills a program that has just begun with it. So a start is asked for over a connection that a
 * sleeping process holds too: an agent that is killed does not end it. What was asked for is noted beside it, with which
 * containerd was asked: the next agent waits for what is under way, and a start that containerd itself was killed in is
 * known for one.
 */
export class Starts {
  readonly #options: StartsOptions
  readonly #underWay = new Set<string>()
  readonly #asked: Set<string>
  #line: Promise<Line> | undefined

  constructor(options: StartsOptions) {
    this.#options = options
    mkdirSync(options.folder, { recursive: true, mode: 0o700 })
    this.#asked = new Set(readdirSync(options.folder))
  }

  /**
   * Resolves when it has started; rejects with a `Refusal` or the signal's reason. A start that nobody waits for any more
   * goes on.
   */
  async start(id: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const work = this.#start(id)
    const { promise, reject } = Promise.withResolvers<never>()
    const abort = () => {
      // The holder has it now: an agent that stops is not kept by what it does not wait for.
      this.#line?.then(
        (open) => open.unref(),
        () => {},
      )
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    await Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', abort))
  }

  /** Whether it is not known from here what became of a start of this container. */
  inDoubt(id: string): boolean {
    return this.#asked.has(id) && !this.#underWay.has(id)
  }

  /**
   * Of a container that containerd takes for not started: when containerd was ended while it started this one, the time at
   * which that was asked for, else undefined. Waits for what an agent before this one has under way.
   */
  async cutAtMs(id: string, signal: AbortSignal): Promise<number | undefined> {
    const untilMs = this.#options.clock.monotonic() + START_MS
    while (this.inDoubt(id)) {
      const note = this.#read(id)
      if (note === undefined) return undefined
      if (note.asked !== runOf(this.#options.socket)) return note.atMs
      try {
        await this.start(id, signal)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        if (error.status === 'unavailable') throw error
        // It has started, or cannot: its state says so.
        if (!/already in starting state/.test(error.message) || this.#options.clock.monotonic() > untilMs)
          return undefined
        this.#note(id)
        await delay(this.#options.clock, LOOK_AGAIN_MS, signal)
      }
    }
    return undefined
  }

  /** Those of which it is not known from here what became of their start. */
  get doubts(): readonly string[] {
    return [...this.#asked].filter((id) => this.inDoubt(id))
  }

  /** What became of its start is known without the note. */
  forget(id: string): void {
    if (this.inDoubt(id)) this.#answered(id)
  }

  async #start(id: string): Promise<void> {
    this.#underWay.add(id)
    try {
      const line = await this.#connect()
      // After the connection: of a containerd that has gone since, nothing was asked.
      this.#note(id)
      try {
        await line.ask(CRI.startContainer.path, CRI.startContainer.request.encode({ id }))
        this.#answered(id)
      } catch (error) {
        if (error instanceof Refusal && error.status !== 'unavailable') this.#answered(id)
        throw error
      }
    } finally {
      this.#underWay.delete(id)
      if (this.#underWay.size === 0) this.#close()
    }
  }

  #connect(): Promise<Line> {
    const line = this.#line ?? Line.open(this.#options.socket)
    this.#line = line
    const broken = () => {
      if (this.#line === line) this.#line = undefined
    }
    line.then((open) => open.onEnd(broken), broken)
    return line
  }

  #close(): void {
    const line = this.#line
    this.#line = undefined
    line?.then(
      (open) => open[Symbol.dispose](),
      () => {},
    )
  }

  #note(id: string): void {
    writeFileSync(join(this.#options.folder, id), runOf(this.#options.socket))
    this.#asked.add(id)
  }

  #answered(id: string): void {
    rmSync(join(this.#options.folder, id), { force: true })
    this.#asked.delete(id)
  }

  /** Undefined where the start has been answered meanwhile to somebody who was not waited for. */
  #read(id: string): { readonly asked: string; readonly atMs: number } | undefined {
    const path = join(this.#options.folder, id)
    try {
      return { asked: readFileSync(path, 'utf8'), atMs: Math.floor(statSync(path).mtimeMs) }
    } catch {
      this.#asked.delete(id)
      return undefined
    }
  }
}

/** Which run of containerd it is: each makes its socket anew. */
export function runOf(socket: string): string {
  const { ino, ctimeNs } = statSync(socket, { bigint: true, throwIfNoEntry: false }) ?? {}
  return `${ino}-${ctimeNs}`
}

/** A connection that goes on without this process. */
class Line implements Disposable {
  readonly #session: ClientHttp2Session
  readonly #holder: ChildProcess

  private constructor(session: ClientHttp2Session, holder: ChildProcess) {
    this.#session = session
    this.#holder = holder
    // Every question is told of it by the end of its own stream.
    session.on('error', () => {})
  }

  static async open(path: string): Promise<Line> {
    const socket = createConnection(path)
    try {
      await once(socket, 'connect')
    } catch (error) {
      throw new Refusal('unavailable', 'it cannot be connected to', error)
    }
    const holder = hold(socket)
    // Whoever hands a socket to a process is taken to read it no more.
    socket.read(0)
    return new Line(connect('http://localhost', { createConnection: () => socket }), holder)
  }

  unref(): void {
    if (!this.#session.destroyed) this.#session.unref()
  }

  onEnd(told: () => void): void {
    if (this.#session.closed || this.#session.destroyed) told()
    else this.#session.once('close', told)
  }

  /** One question of gRPC without anything in its answer. */
  async ask(path: string, message: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const head = Buffer.alloc(5)
    head.writeUInt32BE(message.length, 1)
    let answer: Answer = { code: undefined, words: '' }
    const take = (headers: Readonly<Record<string, unknown>>) => {
      const { 'grpc-status': code, 'grpc-message': words } = headers
      if (code !== undefined) answer = { code: Number(code), words: plain(String(words ?? '')) }
    }
    try {
      const stream = this.#session.request({
        ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
        'grpc-timeout': `${START_MS}m`,
      })
      stream.on('response', take)
      stream.on('trailers', take)
      stream.on('error', reject)
      stream.on('close', () => resolve(answer))
      stream.resume()
      stream.end(Buffer.concat([head, message]))
    } catch (error) {
      reject(error)
    }
    const { code, words } = await promise.catch((error: unknown): never => {
      throw new Refusal('unavailable', 'it went away meanwhile', error)
    })
    if (code !== 0) throw refusal(code ?? 14, words, undefined)
  }

  [Symbol.dispose](): void {
    this.#session.destroy()
    this.#holder.kill('SIGKILL')
  }
}

interface Answer {
  readonly code: number | undefined
  readonly words: string
}

/** A process of its own session that does nothing but have the connection open, and ends by itself. */
function hold(socket: Socket): ChildProcess {
  const stdio = ['ignore', 'ignore', 'ignore', socket] as const
  const holder = spawn('sleep', [String(START_MS / 1000)], { stdio: [...stdio], detached: true })
  // Without it a start is as safe as the agent is.
  holder.on('error', () => {})
  holder.unref()
  return holder
}

function plain(words: string): string {
  try {
    return decodeURIComponent(words)
  } catch {
    return words
  }
}
