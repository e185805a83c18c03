import { watch } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { LogsTarget } from '../../api/link/pod-streams.ts'
import { CriLines } from './cri-lines.ts'
import { tailOffset } from './log-tail.ts'

export interface LogSource {
  /** Whether more may still be written. */
  readonly running: () => Promise<boolean>
  /** Tells when the container may have ended. */
  readonly wake: (listener: () => void) => () => void
}

const CHUNK_BYTES = 256 * 1024
/** A file system that tells nothing (or a rotation that was missed) is looked at this often while following. */
const LOOK_MS = 1000

/**
 * The text of a container's log as `kubectl logs` wants it, from files in CRI format. Follows rotation: a new file at
 * the same path is read from its beginning after the old one was read to its end.
 */
export async function* readLog(
  path: string,
  wanted: LogsTarget,
  source: LogSource,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const lines = new CriLines(wanted)
  let file = await openLog(path)
  if (file === undefined && wanted.follow !== true) return
  using waker = new Waker(path, source, signal)
  let offset = file === undefined ? 0 : await tailOffset(file, wanted)
  try {
    for (;;) {
      signal.throwIfAborted()
      waker.rearm()
      // Asked before reading: what a container wrote before it ended is then in the file.
      const running = wanted.follow === true && (await source.running())
      while (file !== undefined && !lines.done) {
        signal.throwIfAborted()
        const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
        const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, offset)
        if (bytesRead === 0) break
        offset += bytesRead
        const text = lines.take(buffer.subarray(0, bytesRead))
        if (text.length > 0) yield text
      }
      if (lines.done) return
      const rotated = await replaced(path, file)
      if (rotated !== undefined) {
        await file?.close()
        file = rotated
        offset = 0
        continue
      }
      if (!running) {
        const rest = lines.end()
        if (rest.length > 0) yield rest
        return
      }
      await waker.wait()
    }
  } finally {
    await file?.close()
  }
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** The file that is at the path now, if it is another than the one that was read. */
async function replaced(path: string, file: FileHandle | undefined): Promise<FileHandle | undefined> {
  const now = await openLog(path)
  if (now === undefined || file === undefined) return now
  const [before, after] = await Promise.all([file.stat(), now.stat()])
  if (before.ino !== after.ino || before.dev !== after.dev) return now
  await now.close()
  return undefined
}

/** Wakes a follower when the file grew, the container changed, some time passed, or nobody wants it any more. */
class Waker implements Disposable {
  #woken = Promise.withResolvers<void>()
  readonly #ends: (() => void)[] = []

  constructor(path: string, source: LogSource, signal: AbortSignal) {
    const wake = () => this.#woken.resolve()
    this.#ends.push(source.wake(wake))
    signal.addEventListener('abort', wake, { once: true })
    this.#ends.push(() => signal.removeEventListener('abort', wake))
    const timer = setInterval(wake, LOOK_MS).unref()
    this.#ends.push(() => clearInterval(timer))
    try {
      // The folder, not the file: a rotation puts another file there.
      const watcher = watch(path.slice(0, path.lastIndexOf('/') + 1) || '.', wake)
      watcher.on('error', () => {})
      this.#ends.push(() => watcher.close())
    } catch {
      // Looking every second has to do.
    }
  }

  rearm(): void {
    this.#woken = Promise.withResolvers<void>()
  }

  wait(): Promise<void> {
    return this.#woken.promise
  }

  [Symbol.dispose](): void {
    for (const end of this.#ends) end()
  }
}
