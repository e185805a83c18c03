import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { SluiceError } from '../../api/errors.ts'
import type { ApiServer, ApiServerOptions } from './server.ts'

/** What can be told to another thread; the rest of the options has to be the default there. */
export type ApiThreadOptions = Pick<ApiServerOptions, 'dataDir' | 'host' | 'port' | 'tls' | 'nodes'>

/** An error between threads, where classes get lost. */
export interface ThreadError {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

export type ThreadMessage =
  | { readonly t: 'ready'; readonly url: string; readonly port: number; readonly setAside: string | undefined }
  | { readonly t: 'failed'; readonly error: ThreadError }
  | { readonly t: 'trouble'; readonly error: ThreadError }

/** In development the source runs as it is; in the package it is a bundle beside this one. */
const program = (): URL =>
  new URL(import.meta.url.endsWith('.ts') ? './thread-main.ts' : './apiserver.js', import.meta.url)

/**
 * The embedded API in a thread of its own: whatever the API is busy with (a list of ten thousand objects, a patch of
 * every device each second), the hub next door goes on receiving and handing out data. Throws like `startApiServer`.
 * If the thread dies of something unforeseen, so does this process: whoever supervises it starts both anew.
 */
export async function startApiThread(
  options: ApiThreadOptions & { readonly onError?: (error: unknown) => void },
): Promise<ApiServer> {
  const { onError = () => {}, ...told } = options
  const worker = new Worker(program(), { workerData: told, name: 'apiserver' })
  const ended = once(worker, 'exit')
  let stopping = false
  const ready = await new Promise<ThreadMessage & { t: 'ready' }>((resolve, reject) => {
    worker.on('message', (message: ThreadMessage) => {
      if (message.t === 'ready') resolve(message)
      else if (message.t === 'failed') reject(revived(message.error))
      else onError(revived(message.error))
    })
    worker.once('error', reject)
    worker.once('exit', (code) => {
      reject(new SluiceError('SLUICE_API_THREAD', `the API server's thread ended with ${code} before it was ready`))
    })
  })
  worker.on('error', (error) => {
    throw error
  })
  worker.once('exit', (code) => {
    if (!stopping) throw new SluiceError('SLUICE_API_THREAD', `the API server's thread ended with ${code}`)
  })
  return {
    url: ready.url,
    port: ready.port,
    setAside: ready.setAside,
    async [Symbol.asyncDispose]() {
      if (stopping) return
      stopping = true
      worker.postMessage('stop')
      await ended
    },
  }
}

const revived = ({ code, message, hint }: ThreadError): SluiceError =>
  new SluiceError(code, message, hint === undefined ? {} : { hint })
