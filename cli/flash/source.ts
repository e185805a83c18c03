import { spawn } from 'node:child_process'
import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { SluiceError } from '../../api/errors.ts'

export type Compression = 'none' | 'gzip' | 'xz' | 'zstd'

export interface ImageSource {
  readonly path: string
  readonly compression: Compression
  readonly fileBytes: number
}

const READ_BYTES = 1024 * 1024
/** What xz may use: `xz -9` needs 65 MiB to unpack; a file that asks for more is made to hurt. */
const XZ_MEMORY = '512MiB'

/** What kind of file it is by its first bytes, not by its name. Throws SLUICE_CLI_FILE or SLUICE_FLASH_IMAGE. */
export function openSource(path: string): ImageSource {
  let head: Buffer
  let fileBytes: number
  try {
    const about = statSync(path)
    if (!about.isFile()) throw Object.assign(new Error('it is no file'), { code: 'EISDIR' })
    fileBytes = about.size
    head = Buffer.alloc(8)
    const fd = openSync(path, 'r')
    readSync(fd, head, 0, 8, 0)
    closeSync(fd)
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
    throw new SluiceError('SLUICE_CLI_FILE', `The image '${path}' cannot be read (${reason})`, {
      hint: 'Check the name and its rights.',
      cause,
    })
  }
  if (fileBytes === 0) throw unusable(path, 'it is empty')
  const hex = head.toString('hex')
  if (hex.startsWith('504b0304')) throw unusable(path, 'it is a ZIP archive', 'Unpack it and give the .img inside.')
  if (hex.startsWith('425a68')) throw unusable(path, 'it is packed with bzip2', `Unpack it first: bunzip2 ${path}`)
  const compression = hex.startsWith('1f8b')
    ? 'gzip'
    : hex.startsWith('fd377a585a00')
      ? 'xz'
      : hex.startsWith('28b52ffd')
        ? 'zstd'
        : 'none'
  return { path, compression, fileBytes }
}

export interface StreamOptions {
  readonly signal: AbortSignal
  /** Sees every byte of the file as it is stored, before it is unpacked. */
  readonly onStored?: (chunk: Buffer) => void
  /** Where programs are looked for. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/**
 * The unpacked image, a piece at a time; nothing runs ahead of who reads. Throws SLUICE_FLASH_IMAGE when the file is
 * damaged or cut short and SLUICE_FLASH_TOOL when `xz` is not installed.
 */
export async function* streamImage(source: ImageSource, options: StreamOptions): AsyncGenerator<Buffer, void> {
  const { signal, onStored } = options
  // Ended here when the reader stops early, so that no process and no file stays open behind it.
  const stop = new AbortController()
  const either = AbortSignal.any([signal, stop.signal])
  const stored = createReadStream(source.path, { highWaterMark: READ_BYTES })
  if (onStored !== undefined) stored.on('data', (chunk) => onStored(chunk as Buffer))
  // A listener would start the flow at once; whoever reads decides.
  stored.pause()
  try {
    yield* unpacked(source, stored, either, options.env ?? process.env)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof SluiceError) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('SLUICE_FLASH_IMAGE', `The image '${source.path}' cannot be unpacked: ${why}`, {
      hint: 'It is damaged or cut short; download it once more and compare its checksum: --sha256.',
      cause,
    })
  } finally {
    stop.abort()
    stored.destroy()
  }
}

async function* unpacked(
  source: ImageSource,
  stored: Readable,
  signal: AbortSignal,
  env: Readonly<Record<string, string | undefined>>,
): AsyncGenerator<Buffer, void> {
  if (source.compression === 'none') {
    yield* stored as AsyncIterable<Buffer>
    return
  }
  if (source.compression === 'xz') {
    yield* throughXz(stored, signal, env)
    return
  }
  const unpack =
    source.compression === 'gzip'
      ? createGunzip({ chunkSize: READ_BYTES })
      : createZstdDecompress({ chunkSize: READ_BYTES })
  const done = pipeline(stored, unpack, { signal })
  done.catch(() => {})
  yield* unpack as AsyncIterable<Buffer>
  await done
}

/** Node has no xz. The program gets the file through a pipe, so that one reading serves the checksum, too. */
async function* throughXz(
  stored: Readable,
  signal: AbortSignal,
  env: Readonly<Record<string, string | undefined>>,
): AsyncGenerator<Buffer, void> {
  const argv = ['--decompress', '--stdout', '--no-sparse', `--memlimit-decompress=${XZ_MEMORY}`]
  const child = spawn('xz', argv, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...env, LC_ALL: 'C' } })
  let words = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(0, 500)))
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(missingXz(cause)))
    child.once('close', resolve)
  })
  ended.catch(() => {})
  const onAbort = () => child.kill('SIGKILL')
  signal.addEventListener('abort', onAbort, { once: true })
  // When xz gives up its input closes; why, it says itself.
  pipeline(stored, child.stdin).catch(() => {})
  try {
    yield* child.stdout as AsyncIterable<Buffer>
    const code = await ended
    if (code !== 0) throw new Error(words.replace(/^xz: (\(stdin\): )?/, '').trim() || `xz ended with ${code}`)
  } finally {
    signal.removeEventListener('abort', onAbort)
    child.kill('SIGKILL')
  }
}

const missingXz = (cause: Error): SluiceError =>
  new SluiceError('SLUICE_FLASH_TOOL', `'xz' cannot be started, which unpacks this image: ${cause.message}`, {
    hint: 'Debian: apt-get install xz-utils. Or unpack it elsewhere and give the .img.',
    cause,
  })

const unusable = (path: string, what: string, hint = 'Give an .img, .img.gz, .img.xz or .img.zst.'): SluiceError =>
  new SluiceError('SLUICE_FLASH_IMAGE', `'${path}' cannot be written: ${what}`, { hint })
