import { closeSync, constants, openSync, rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import type { Clock } from '../../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../../api/errors.ts'
import type { Json, ObjectKey } from '../../../api/resources.ts'
import { durationMs } from '../../../api/twin/duration.ts'
import type { DeviceView } from '../../../api/views.ts'
import { answer, answerError } from '../../local-api/server.ts'

/** What a twin's socket needs of the agent, and all that it can do. */
export interface TwinAccess {
  readonly clock: Clock
  /** Undefined: this gateway has no such device (any more). */
  readonly view: (key: ObjectKey) => DeviceView | undefined
  readonly desire: (key: ObjectKey, property: string, value: Json, by: string) => void
  /** Something of this device may have changed. */
  readonly onChange: (key: ObjectKey, wake: () => void) => () => void
}

export interface TwinSocketOptions {
  readonly access: TwinAccess
  readonly device: ObjectKey
  readonly write: boolean
  /** Who writes through it: `pod:NAMESPACE/NAME`. */
  readonly by: string
  readonly path: string
}

const MAX_BODY_BYTES = 64 * 1024
const MAX_CONNECTIONS = 16
const MAX_WAIT_MS = 60_000
const MAX_UNSENT_BYTES = 256 * 1024

/**
 * One device's twin for one pod, as HTTP on a socket in the file system: whoever can open the file can do with this device what
 * the pod asked for, and nothing else at all.
 *
 *     GET /            the device: state, and every property
 *     GET /PROPERTY    one property
 *     PUT /PROPERTY    {"value": 21.5}; with ?wait=5s the answer says what became of it
 *     GET /events      each property that changes, one JSON object a line
 */
export class TwinSocket implements AsyncDisposable {
  readonly #options: TwinSocketOptions
  readonly #server: Server
  readonly #stop = new AbortController()

  constructor(options: TwinSocketOptions) {
    this.#options = options
    this.#server = createServer({ maxHeaderSize: 4096, requestTimeout: 30_000 }, (request, response) => {
      this.#serve(request, response).catch((thrown: unknown) => answerError(response, toSluiceError(thrown)))
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.unref()
  }

  async listen(): Promise<void> {
    const { path } = this.#options
    rmSync(path, { force: true })
    // By the folder's number, since the whole path may be longer than a socket's may (unix(7)).
    const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject)
        this.#server.listen(join(`/proc/self/fd/${folder}`, path.slice(dirname(path).length)), resolve)
      })
    } finally {
      closeSync(folder)
    }
    // Its folder lets nobody in but the pod that it is mounted into.
    await chmod(path, 0o666)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
    rmSync(this.#options.path, { force: true })
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://twin')
    const name = decodeURIComponent(url.pathname.slice(1))
    if (request.method === 'PUT') {
      answer(response, 200, await this.#write(name, url.searchParams.get('wait'), request, response))
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new SluiceError('SLUICE_API_METHOD', `${request.method} is not possible here`, { hint: 'Use GET or PUT.' })
    }
    if (name === 'events') this.#follow(response)
    else answer(response, 200, name === '' ? this.#view() : this.#property(name))
  }

  #view(): DeviceView {
    const { access, device } = this.#options
    const view = access.view(device)
    if (view !== undefined) return view
    throw new SluiceError('SLUICE_TWIN_DEVICE_UNKNOWN', `The device ${device} is not on this gateway any more`, {
      hint: 'It may come back, or be on another gateway; ask again later.',
    })
  }

  #property(name: string): DeviceView['twins'][number] {
    const twin = this.#view().twins.find((one) => one.name === name)
    if (twin !== undefined) return twin
    throw new SluiceError(
      'SLUICE_TWIN_PROPERTY_UNKNOWN',
      `The device ${this.#options.device} has no property '${name}'`,
      {
        hint: 'GET / shows all of them.',
      },
    )
  }

  async #write(name: string, wait: string | null, request: IncomingMessage, response: ServerResponse) {
    const { access, device, write, by } = this.#options
    if (!write) {
      throw new SluiceError('SLUICE_TWIN_READ_ONLY', `This pod may only read the device ${device}`, {
        hint: 'Ask for it without `:ro` in the annotation sluice.dev/device.',
      })
    }
    const waitMs = wait === null ? 0 : Math.min(durationMs(wait), MAX_WAIT_MS)
    const value = await readValue(request)
    this.#property(name)
    const ended = Promise.withResolvers<void>()
    const settled = () => {
      if (this.#property(name).state !== 'pending') ended.resolve()
    }
    const unsubscribe = access.onChange(device, settled)
    const timer = access.clock.after(waitMs, () => ended.resolve(), true)
    response.once('close', () => ended.resolve())
    try {
      access.desire(device, name, value, by)
      if (waitMs > 0) {
        settled()
        await ended.promise
      }
    } finally {
      timer.cancel()
      unsubscribe()
    }
    const { state = 'pending', stateReason } = this.#property(name)
    return { property: name, value, state, ...(stateReason === undefined ? {} : { reason: stateReason }) }
  }

  #follow(response: ServerResponse): void {
    const { access, device } = this.#options
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    response.flushHeaders()
    const told = new Map<string, string>()
    const tell = () => {
      // Who does not read misses what came in between and gets the newest; nothing piles up.
      if (response.writableLength > MAX_UNSENT_BYTES) return
      for (const twin of access.view(device)?.twins ?? []) {
        const text = JSON.stringify(twin)
        if (told.get(twin.name) === text) continue
        told.set(twin.name, text)
        response.write(`${text}\n`)
      }
    }
    const unsubscribe = access.onChange(device, tell)
    const end = () => {
      unsubscribe()
      response.end()
    }
    response.on('drain', tell)
    response.once('close', end)
    this.#stop.signal.addEventListener('abort', end, { once: true })
    tell()
  }
}

async function readValue(request: IncomingMessage): Promise<Json> {
  const hint = 'Send {"value": 21.5}.'
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new SluiceError('SLUICE_API_TOO_LARGE', 'The value is too large', { hint })
    chunks.push(chunk)
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    if (typeof body === 'object' && body !== null && 'value' in body) return body.value as Json
  } catch (cause) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', 'The request body is not JSON', { hint, cause })
  }
  throw new SluiceError('SLUICE_API_BAD_REQUEST', "The request body has no 'value'", { hint })
}
