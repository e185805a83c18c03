import { type Clock, delay } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { isUpdateEnd, type LinkFirmwareUpdate } from '../../api/link/firmware.ts'
import type { ObjectKey } from '../../api/resources.ts'
import { SmpRefused } from '../../firmware/tools/smp/client.ts'
import type { DeviceTunnel, MapperStorage, Reading } from '../../mappers/sdk/mapper.ts'
import type { Log } from '../log.ts'
import type { ImageStore } from './image-store.ts'
import { Update, UpdateFailed, type UpdateNote } from './update.ts'
import type { UpdateBoard } from './update-board.ts'
import type { UpdateTools, UpdateWord } from './update-tools.ts'

export interface UpdaterOptions {
  readonly clock: Clock
  readonly log: Log
  readonly board: UpdateBoard
  readonly images: ImageStore
  readonly storage: MapperStorage
  readonly orders: () => Iterable<readonly [ObjectKey, LinkFirmwareUpdate]>
  readonly tunnel: (device: ObjectKey) => DeviceTunnel | undefined
  readonly goodProperties: (device: ObjectKey) => readonly string[]
  /** Whether an update may begin: not at a tethered gateway without a lease. */
  readonly mayBegin: () => boolean
  readonly onReadings: (listener: (batch: readonly Reading[]) => void) => () => void
}

interface Running {
  readonly attempt: string
  readonly stop: AbortController
  readonly ended: Promise<void>
}

const RETRY_FIRST_MS = 2000
const RETRY_MAX_MS = 60_000
/** A device whose mapper has not started yet is looked for again after this. */
const UNSERVED_MS = 1000

/** Carries out what is ordered: one device at a time on a wire, each from wherever it stands. */
export class FirmwareUpdater implements AsyncDisposable {
  readonly #options: UpdaterOptions
  readonly #running = new Map<ObjectKey, Running>()
  /** Ends when the wire is free. */
  readonly #wires = new Map<string, Promise<void>>()
  #disposed = false

  constructor(options: UpdaterOptions) {
    this.#options = options
  }

  /** Orders have changed. */
  look(): void {
    if (this.#disposed) return
    const orders = new Map(this.#options.orders())
    for (const [device, { stop, attempt }] of this.#running) {
      if (orders.get(device)?.spec.attempt === attempt) continue
      stop.abort(new Error('the update is not wanted any more'))
      this.#running.delete(device)
      if (!orders.has(device)) this.#options.board.delete(device)
    }
    for (const key of this.#options.storage.keys('')) {
      const device = key.slice(key.indexOf(' ') + 1)
      if (orders.has(device)) continue
      this.#options.board.delete(device)
      this.#options.storage.put({ [key]: undefined }, 'soon')
    }
    for (const [device, order] of orders) this.#begin(device, order)
    const wanted = new Set([...orders.values()].flatMap(({ spec }) => spec.images.map(({ sha256 }) => sha256)))
    void this.#options.images.keepOnly(wanted).catch((thrown: unknown) => this.#trouble('images', thrown))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    const running = [...this.#running.values()]
    for (const { stop } of running) stop.abort(new Error('the agent stops'))
    await Promise.all(running.map(({ ended }) => ended))
  }

  #begin(device: ObjectKey, order: LinkFirmwareUpdate): void {
    const { attempt } = order.spec
    if (this.#running.get(device)?.attempt === attempt) return
    const say = (word: UpdateWord) => this.#options.board.set({ key: device, uid: order.uid, attempt, ...word })
    const end = this.#read<{ attempt: string; word: UpdateWord }>(`end ${device}`)
    if (end?.attempt === attempt) {
      say(end.word)
      return
    }
    const stop = new AbortController()
    const ended = this.#run(device, order, say, stop.signal).catch((thrown: unknown) => {
      if (!stop.signal.aborted) this.#trouble(device, thrown)
    })
    this.#running.set(device, { attempt, stop, ended })
  }

  async #run(
    device: ObjectKey,
    { spec }: LinkFirmwareUpdate,
    say: (word: UpdateWord) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, storage, images, log } = this.#options
    const { attempt } = spec
    const tools: UpdateTools = {
      ...{ device, clock, images, say },
      note: () => {
        const note = this.#read<UpdateNote>(`note ${device}`)
        return note?.attempt === attempt ? note : undefined
      },
      remember: (note) => storage.put({ [`note ${device}`]: JSON.stringify(note) }, 'now'),
      goodProperties: () => this.#options.goodProperties(device),
      onReadings: this.#options.onReadings,
    }
    const waiting = spec.goBack === true ? 'reverting' : 'waiting'
    say({ state: waiting })
    for (let failures = 0; ; ) {
      const tunnel = this.#options.tunnel(device)
      if (tunnel === undefined) {
        say({ state: waiting, message: 'the device is not served here, or its protocol carries no updates' })
        await delay(clock, UNSERVED_MS, signal)
        continue
      }
      // One that has begun goes on: a board in the middle of an update is worse off than one that nobody leads.
      if (tools.note() === undefined && !this.#options.mayBegin()) {
        say({ state: waiting, message: 'the gateway is tethered and has no lease: nothing begins' })
        await delay(clock, UNSERVED_MS, signal)
        continue
      }
      const free = await this.#wire(tunnel.line, signal)
      let word: UpdateWord
      try {
        word = await new Update(spec, tunnel, tools, signal).run()
      } catch (thrown) {
        signal.throwIfAborted()
        const error = toSluiceError(thrown)
        const { code, message } = error
        if (!(error instanceof UpdateFailed || error instanceof SmpRefused)) {
          failures++
          say({ state: waiting, code, message: `tried again soon: ${message}`.slice(0, 1024) })
          free()
          await delay(clock, Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(failures - 1, 5)), signal)
          continue
        }
        const state = spec.goBack === true ? 'kept' : 'failed'
        word = { state, code, message: [message, error.hint].filter(Boolean).join('. ').slice(0, 1024) }
      } finally {
        free()
      }
      storage.put({ [`end ${device}`]: JSON.stringify({ attempt, word }), [`note ${device}`]: undefined }, 'now')
      say(word)
      log(word.state === 'confirmed' ? 'info' : 'warn', `Firmware of ${device}: ${word.state}`, {
        version: word.running ?? '',
        reason: word.message ?? '',
      })
      if (isUpdateEnd(word.state)) return
    }
  }

  /** Waits until nobody else updates a device on this wire; the result lets the next one go. */
  async #wire(line: string, signal: AbortSignal): Promise<() => void> {
    const before = this.#wires.get(line) ?? Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    const tail = before.then(() => promise)
    this.#wires.set(line, tail)
    void tail.then(() => {
      if (this.#wires.get(line) === tail) this.#wires.delete(line)
    })
    signal.addEventListener('abort', () => resolve(), { once: true })
    await before
    if (signal.aborted) resolve()
    signal.throwIfAborted()
    return resolve
  }

  #read<T>(key: string): T | undefined {
    const text = this.#options.storage.get(key)
    return text === undefined ? undefined : (JSON.parse(text) as T)
  }

  #trouble(what: string, thrown: unknown): void {
    const { code, message } = toSluiceError(thrown)
    this.#options.log('error', `Firmware update of ${what}: ${message}`, { code })
  }
}
