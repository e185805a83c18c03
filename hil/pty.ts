import { writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { ReadStream } from 'node:tty'
import { SluiceError } from '../api/errors.ts'

/** One pseudo-terminal without any process behind it: what is written to `path` comes out here, and the other way round. */
export interface PtyPair extends AsyncDisposable {
  /** The slave, as foreign code opens it: `/dev/pts/N`. */
  readonly path: string
  /**
   * Bytes for whoever has the slave open. Returns how many the kernel's buffer took; what did not fit is lost, as on a
   * wire, unless the caller writes it again.
   */
  write(bytes: Uint8Array): number
  onData(listener: (chunk: Uint8Array) => void): void
}

interface NativePty {
  open(columns: number, rows: number): { master: number; slave: number; pty: string }
}

/** Opens a pseudo-terminal in raw mode. The slave stays open here too, so its far side may come and go. */
export function openPtyPair(): PtyPair {
  const { master, slave, pty } = loadNative().open(80, 24)
  const out = new ReadStream(master)
  const held = new ReadStream(slave)
  held.setRawMode(true)
  // The master ends with EIO once it is destroyed below; nothing to report.
  out.on('error', () => undefined)
  held.on('error', () => undefined)
  let open = true
  return {
    path: pty,
    write: (bytes) => (open ? writeSome(master, bytes) : bytes.length),
    onData: (listener) => void out.on('data', listener),
    async [Symbol.asyncDispose]() {
      if (!open) return
      open = false
      await Promise.all([destroyed(out), destroyed(held)])
    },
  }
}

function writeSome(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes)
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EAGAIN')) throw thrown
    return 0
  }
}

function destroyed(stream: ReadStream): Promise<void> {
  return new Promise((resolve) => {
    stream.once('close', () => resolve())
    stream.destroy()
  })
}

function loadNative(): NativePty {
  try {
    const loader: unknown = createRequire(import.meta.url)('@lydell/node-pty/requireBinary.js')
    const native = isLoader(loader) ? loader.requireBinary('pty.node') : undefined
    if (isNativePty(native)) return native
  } catch (thrown) {
    throw missing(thrown)
  }
  throw missing(undefined)
}

function isLoader(value: unknown): value is { requireBinary(file: string): unknown } {
  return typeof value === 'object' && value !== null && 'requireBinary' in value
}

function isNativePty(value: unknown): value is NativePty {
  return typeof value === 'object' && value !== null && 'open' in value && typeof value.open === 'function'
}

function missing(cause: unknown): SluiceError {
  return new SluiceError('SLUICE_HIL_NO_PTY', 'pseudo-terminals are not available: @lydell/node-pty is missing', {
    hint: 'Run npm install without --omit=optional.',
    ...(cause === undefined ? {} : { cause }),
  })
}
