import { constants, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { SluiceError } from '../../api/errors.ts'

/** What is written to, a block at a time. Errors are those of the operating system, with their code. */
export interface WriteTarget extends AsyncDisposable {
  readonly path: string
  readonly sizeBytes: number
  write(bytes: Buffer, offset: number): Promise<void>
  /** Resolves when what was written is on the medium. */
  flush(): Promise<void>
  openToVerify(): Promise<VerifyReader>
}

export interface VerifyReader extends AsyncDisposable {
  /** Whether it reads from the medium itself and not from memory of what was written. */
  readonly direct: boolean
  /** At most `length` bytes (a multiple of 4096); the view is good until the next call. */
  read(offset: number, length: number): Promise<Buffer>
}

/**
 * Opens a disk for this process alone: O_EXCL makes the kernel refuse it while anything on it is mounted, and refuses
 * mounting for as long as it is open. Throws SLUICE_FLASH_DEVICE_REFUSED, SLUICE_FLASH_DEVICE_PERMISSION or SLUICE_FLASH_DEVICE_LOST.
 */
export async function openTarget(path: string, sizeBytes: number, blockBytes: number): Promise<WriteTarget> {
  let file: FileHandle
  try {
    const exclusive = statSync(path).isBlockDevice() ? constants.O_EXCL : 0
    file = await open(path, constants.O_RDWR | exclusive)
  } catch (cause) {
    throw cannotOpen(path, cause)
  }
  return {
    path,
    sizeBytes,
    async write(bytes, offset) {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done)
        if (bytesWritten === 0) throw Object.assign(new Error('nothing was written'), { code: 'ENOSPC' })
        done += bytesWritten
      }
    },
    flush: () => file.sync(),
    openToVerify: () => openReader(path, blockBytes),
    [Symbol.asyncDispose]: () => file.close(),
  }
}

async function openReader(path: string, blockBytes: number): Promise<VerifyReader> {
  // O_DIRECT goes past the cache, which would otherwise answer with what was written, whatever the card made of it. It
  // wants memory on page boundaries: that of a buffer which may grow begins at one, an ordinary one's does not.
  const bytes = Buffer.from(new ArrayBuffer(blockBytes, { maxByteLength: blockBytes }))
  let direct = true
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_DIRECT)
    await file.read(bytes, 0, 4096, 0)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EINVAL')) throw error
    direct = false
    file = await open(path, constants.O_RDONLY)
  }
  return {
    direct,
    async read(offset, length) {
      let done = 0
      while (done < length) {
        const { bytesRead } = await file.read(bytes, done, length - done, offset + done)
        if (bytesRead === 0) break
        done += bytesRead
        // The end of a file that is no multiple of a page: what follows could not be read directly.
        if (direct && done % 512 !== 0) break
      }
      return bytes.subarray(0, done)
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}

function cannotOpen(path: string, cause: unknown): SluiceError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  if (code === 'EBUSY') {
    return new SluiceError('SLUICE_FLASH_DEVICE_REFUSED', `${path} is in use: something on it is mounted or opened`, {
      hint: "Close what uses it and unmount it; 'sluice flash ls' shows where it is mounted.",
      cause,
    })
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new SluiceError('SLUICE_FLASH_DEVICE_PERMISSION', `${path} may not be written by this user`, {
      hint: 'Run it with sudo.',
      cause,
    })
  }
  return new SluiceError('SLUICE_FLASH_DEVICE_LOST', `${path} cannot be opened (${code})`, {
    hint: 'Is the card still in, and is its switch for writing open?',
    cause,
  })
}
