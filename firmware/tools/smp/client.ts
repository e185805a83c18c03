import { createHash } from 'node:crypto'
import { type Clock, delay, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { REFUSALS, type Refusal } from '../image.ts'
import type { CborValue } from './cbor.ts'
import { answers, asFields, decodeAnswer, encodePacket, type SmpFields, type SmpRequest } from './packet.ts'
import type { SmpTransport } from './transport.ts'

/** A client of SMP (mcumgr) servers: boards with our bootloader, and Zephyr's or MCUboot's own. */

const OS = 0
const IMAGE = 1
const SLUICE = 64
const RESULTS: Readonly<Record<number, string>> = {
  1: 'unknown error',
  2: 'out of memory',
  3: 'invalid request',
  5: 'nothing there',
  6: 'not in this state',
  7: 'too large',
  8: 'not supported',
  9: 'corrupt',
  10: 'busy',
}

/** The board said no. `refusal` says why where it is about an image. */
export class SmpRefused extends SluiceError {
  readonly rc: number
  readonly refusal: Refusal | undefined

  constructor(rc: number, refusal: Refusal | undefined, what: string) {
    const why = refusal ?? RESULTS[rc] ?? `result ${rc}`
    super('SLUICE_SMP_REFUSED', `the board refused to ${what}: ${why}`, {
      hint:
        (refusal === undefined ? undefined : HINTS[refusal]) ??
        'Ask the board for its images: they say what each is and why not.',
    })
    this.rc = rc
    this.refusal = refusal
  }
}

const HINTS: Readonly<Partial<Record<Refusal, string>>> = {
  size: 'The image is larger than a slot of this board.',
  board: 'Build the firmware for this board.',
  slot: 'Send the variant of the release that is linked for the slot that does not run.',
  rollback: 'Build a release with a security counter at least as high as the board has confirmed.',
  downgrade: 'Release it again under a higher version.',
  digest: 'The image was damaged on its way; send it again.',
  key: 'Sign it with the current or the next key of these boards.',
  'development-key': 'Sign it with a key of your own: production boards refuse the development key.',
  signature: 'Sign the image again; it was changed after it was signed.',
  flash: 'The flash of the board does not take what is written; it may be worn out.',
  exhausted: 'It was started three times and never became healthy. Upload it again to try once more.',
}

export interface SlotState {
  readonly slot: number
  readonly version: string
  readonly hash: Uint8Array
  readonly bootable: boolean
  readonly pending: boolean
  readonly confirmed: boolean
  readonly active: boolean
  /** Starts while pending; undefined where the device does not say. */
  readonly attempts: number | undefined
  /** Why it is not started. */
  readonly refusal: Refusal | undefined
}

/** What a board of ours says of itself. */
export interface BoardPlate {
  readonly board: string
  readonly id: string
  readonly modelHash: Uint8Array | undefined
  readonly recovery: boolean
  /** Slot that runs, or would be started from recovery; undefined: none. */
  readonly running: number | undefined
  readonly slotAddresses: readonly number[]
  readonly roomBytes: number
  readonly securityCounter: number
}

export interface UploadProgress {
  readonly sentBytes: number
  readonly totalBytes: number
  /** Where this upload began: above 0 when it went on with an earlier one. */
  readonly resumedAt: number
  readonly bytesPerSecond: number
}

export interface UploadOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: UploadProgress) => void
  /** Upper bound, so that a line that is also polled has room; default none. */
  readonly bytesPerSecond?: number
  /** How often a chunk without an answer is sent again; default 5. */
  readonly retries?: number
}

export interface SmpClientOptions {
  readonly clock?: Clock
  /** For an answer; the first chunk of an upload and a test get ten times as long, for erasing and hashing. Default 1000. */
  readonly timeoutMs?: number
}

const number = (value: CborValue | undefined): number | undefined => (typeof value === 'number' ? value : undefined)
const refusalOf = (value: CborValue | undefined): Refusal | undefined =>
  typeof value === 'number' && value !== 0 ? REFUSALS[value] : undefined

export class SmpClient {
  readonly #transport: SmpTransport
  readonly #clock: Clock
  readonly #timeoutMs: number
  #sequence = 0
  #chunkPacketBytes: number | undefined

  constructor(transport: SmpTransport, options: SmpClientOptions = {}) {
    this.#transport = transport
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = options.timeoutMs ?? 1000
  }

  /** One request. Rejects with `SmpRefused` when the answer carries a result other than 0. */
  async request(
    request: SmpRequest,
    what: string,
    signal?: AbortSignal,
    timeoutMs = this.#timeoutMs,
  ): Promise<SmpFields> {
    const sequence = this.#sequence
    this.#sequence = (sequence + 1) & 0xff
    const packet = encodePacket(request, sequence)
    const wanted = (candidate: Uint8Array) => answers(candidate, request, sequence)
    const fields = decodeAnswer(await this.#transport.exchange(packet, wanted, { timeoutMs, signal }))
    const rc = number(fields['rc']) ?? number(asFields(fields['err'])?.['rc']) ?? 0
    if (rc !== 0) throw new SmpRefused(rc, refusalOf(fields['why']), what)
    return fields
  }

  async echo(text: string, signal?: AbortSignal, timeoutMs?: number): Promise<string> {
    const fields = await this.request(
      { operation: 'write', group: OS, command: 0, body: { d: text } },
      'echo',
      signal,
      timeoutMs,
    )
    return String(fields['r'])
  }

  async reset(signal?: AbortSignal): Promise<void> {
    await this.request({ operation: 'write', group: OS, command: 5, body: {} }, 'reset', signal)
  }

  /** What a board of ours says of itself. Others refuse with `SmpRefused`. */
  async plate(signal?: AbortSignal): Promise<BoardPlate> {
    const fields = await this.request(
      { operation: 'read', group: SLUICE, command: 0, body: {} },
      'tell what it is',
      signal,
    )
    const { board, id, model, running, slots, room, counter } = fields
    if (typeof board !== 'string' || !(id instanceof Uint8Array) || !Array.isArray(slots) || typeof room !== 'number')
      throw new SluiceError('SLUICE_SMP_ANSWER', 'the board tells what it is in a way this version does not know')
    return {
      board,
      id: Buffer.from(id).toString('hex'),
      modelHash: model instanceof Uint8Array ? model : undefined,
      recovery: fields['recovery'] === true,
      running: typeof running === 'number' && running >= 0 ? running : undefined,
      slotAddresses: slots.filter((each) => typeof each === 'number'),
      roomBytes: room,
      securityCounter: number(counter) ?? 0,
    }
  }

  /** What is in the slots. A bootloader reads whole images before it says so: it may take `patient` times as long. */
  async images(signal?: AbortSignal, patient = 1): Promise<readonly SlotState[]> {
    const request: SmpRequest = { operation: 'read', group: IMAGE, command: 0, body: {} }
    return slotsOf(await this.request(request, 'list its images', signal, this.#timeoutMs * patient))
  }

  /** Marks the image with this hash (its digest) to be tried at the next boot. */
  async test(hash: Uint8Array, signal?: AbortSignal): Promise<readonly SlotState[]> {
    return this.#state({ hash, confirm: false }, 'try the image', signal)
  }

  /** The running image stays. */
  async confirm(signal?: AbortSignal): Promise<readonly SlotState[]> {
    return this.#state({ confirm: true }, 'confirm the running image', signal)
  }

  /** Prefers the image that ran before the running one, from the next reset on. */
  async revert(signal?: AbortSignal): Promise<readonly SlotState[]> {
    return this.#state({ revert: true }, 'go back to the image before', signal)
  }

  /** Gives the running image so many seconds (1 to 86 400) from now to be confirmed, if it is on trial. */
  async trial(seconds: number, signal?: AbortSignal): Promise<void> {
    const request: SmpRequest = { operation: 'write', group: SLUICE, command: 1, body: { trial: seconds } }
    await this.request(request, 'take longer on trial', signal)
  }

  async #state(body: SmpRequest['body'], what: string, signal: AbortSignal | undefined): Promise<readonly SlotState[]> {
    const request: SmpRequest = { operation: 'write', group: IMAGE, command: 0, body }
    return slotsOf(await this.request(request, what, signal, this.#timeoutMs * 10))
  }

  async erase(signal?: AbortSignal): Promise<void> {
    const request: SmpRequest = { operation: 'write', group: IMAGE, command: 5, body: {} }
    await this.request(request, 'erase the image', signal, this.#timeoutMs * 10)
  }

  /**
   * Uploads an image file into the slot that does not run. Goes on where an earlier upload of the same file ended, also
   * after either side restarted, and where the board says after lost chunks.
   */
  async upload(file: Uint8Array, options: UploadOptions = {}): Promise<void> {
    const { signal, onProgress, bytesPerSecond, retries = 5 } = options
    const sha = createHash('sha256').update(file).digest()
    const chunkBytes = await this.#chunkBytes(signal)
    const started = this.#clock.monotonic()
    let at = 0
    let announced = false
    let resumedAt = 0
    let lost = 0
    while (!announced || at < file.length) {
      const first = !announced
      // What is left of the first packet beside the length and the hash.
      const data = file.subarray(first ? 0 : at, (first ? 0 : at) + (first ? Math.max(chunkBytes - 56, 0) : chunkBytes))
      const body = first ? { image: 0, len: file.length, off: 0, sha, data } : { off: at, data }
      const request: SmpRequest = { operation: 'write', group: IMAGE, command: 1, body }
      let fields: SmpFields
      try {
        fields = await this.request(request, 'take the image', signal, this.#timeoutMs * (first ? 10 : 2))
        lost = 0
      } catch (error) {
        if (signal?.aborted === true || !(error instanceof SluiceError) || ++lost > retries) throw error
        // A board that restarted meanwhile knows no upload; it is told again, and says where to go on.
        if (error instanceof SmpRefused && error.refusal === undefined && error.rc === 6 && !first) announced = false
        else if (error.code !== 'SLUICE_SMP_TIMEOUT') throw error
        continue
      }
      const next = number(fields['off'])
      if (next === undefined || next > file.length)
        throw new SluiceError('SLUICE_SMP_ANSWER', 'the board does not say where the upload goes on')
      if (first && next > data.length) resumedAt = next
      announced = true
      at = next
      const seconds = (this.#clock.monotonic() - started) / 1000
      const rate = seconds > 0 ? (at - resumedAt) / seconds : 0
      onProgress?.({ sentBytes: at, totalBytes: file.length, resumedAt, bytesPerSecond: rate })
      if (bytesPerSecond !== undefined && at < file.length) {
        const dueMs = (Math.max(at - resumedAt, 0) / bytesPerSecond - seconds) * 1000
        if (dueMs > 0) await delay(this.#clock, dueMs, signal)
      }
    }
  }

  /** Data bytes that fit into a packet of the board, in whole words. */
  async #chunkBytes(signal: AbortSignal | undefined): Promise<number> {
    if (this.#chunkPacketBytes === undefined) {
      const request: SmpRequest = { operation: 'read', group: OS, command: 6, body: {} }
      const known = await this.request(request, 'tell its buffer size', signal).catch((error: unknown) => {
        if (error instanceof SmpRefused) return undefined // older servers
        throw error
      })
      const size = number(known?.['buf_size']) ?? 256
      this.#chunkPacketBytes = Math.min(size, this.#transport.maxPacketBytes)
    }
    // Header, map, "off" with its value, "data" with its length.
    return Math.max((this.#chunkPacketBytes - 8 - 24) & ~3, 16)
  }
}

function slotsOf(fields: SmpFields): readonly SlotState[] {
  const images = fields['images']
  if (!Array.isArray(images)) throw new SluiceError('SLUICE_SMP_ANSWER', 'the board lists no images')
  return images.flatMap((each: CborValue) => {
    const image = asFields(each)
    const hash = image?.['hash']
    if (image === undefined) return []
    return {
      slot: number(image['slot']) ?? 0,
      version: String(image['version'] ?? ''),
      hash: hash instanceof Uint8Array ? hash : new Uint8Array(),
      bootable: image['bootable'] === true,
      pending: image['pending'] === true,
      confirmed: image['confirmed'] === true,
      active: image['active'] === true,
      attempts: number(image['attempts']),
      refusal: refusalOf(image['why']),
    }
  })
}
