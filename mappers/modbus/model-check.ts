import type { ObjectKey } from '../../api/resources.ts'
import type { MapperHost } from '../sdk/mapper.ts'
import type { Exchanged, UnitExchange } from './exchange.ts'
import type { Failure } from './failure.ts'
import { MODEL_HASH_BYTES } from './model-hash.ts'

/** The block of input registers that every board has (firmware/core/runtime.h): magic, layout, model hash. */
const BLOCK_ADDRESS = 0xf000
const BLOCK_WORDS = 6
const MAGIC = 0x534c
const HASH_AT = 4

/** How often a board whose model is known is asked again: it may have been programmed anew between two polls. */
const REPEAT_MS = 10_000
/** How often one is asked that is not served yet. */
const RETRY_MS = 2000

export interface ModelCheckEvents {
  /** `passed` is another now: what is polled has to be planned again. */
  changed(): void
  /** The board is made of another model; told as often as it is asked. */
  refused(reason: string): void
}

/**
 * Whether a board was made of the model that the gateway has. Until that is known, and while it is not so, nothing is
 * read from it or written to it: the same register may mean something else there.
 */
export class ModelCheck {
  readonly #device: ObjectKey
  readonly #wanted: string
  readonly #exchange: UnitExchange
  readonly #host: MapperHost
  readonly #events: ModelCheckEvents
  #passed = false
  #passedMs = 0
  #told: string | undefined

  constructor(
    device: ObjectKey,
    wanted: Uint8Array,
    exchange: UnitExchange,
    host: MapperHost,
    events: ModelCheckEvents,
  ) {
    this.#device = device
    this.#wanted = hex(wanted)
    this.#exchange = exchange
    this.#host = host
    this.#events = events
  }

  get passed(): boolean {
    return this.#passed
  }

  get everyMs(): number {
    return this.#passed ? REPEAT_MS : RETRY_MS
  }

  /** It may be another program by now. */
  doubt(): void {
    this.#pass(false)
  }

  /** One question, in the link's turn; none when it was answered just now. */
  async turn(): Promise<void> {
    if (this.#passed && this.#host.clock.monotonic() - this.#passedMs < REPEAT_MS / 2) return
    const failed = await this.#ask()
    if (failed !== undefined && failed.failure.kind === 'refused') this.#events.refused(failed.failure.reason)
  }

  /** Why it must not be written to; undefined when it may be. Asks only when it is not known. */
  async verify(signal: AbortSignal): Promise<(Exchanged & { ok: false }) | undefined> {
    return this.#passed ? undefined : this.#ask(signal)
  }

  async #ask(signal?: AbortSignal): Promise<(Exchanged & { ok: false }) | undefined> {
    const request = { fc: 4, address: BLOCK_ADDRESS, count: BLOCK_WORDS } as const
    const result = await this.#exchange.request(request, {
      serves: 0,
      retries: 1,
      ...(signal === undefined ? {} : { signal }),
    })
    const reason = result.ok ? this.#differs(result.reply.response) : undefined
    if (result.ok && reason === undefined) {
      this.#told = undefined
      this.#passedMs = this.#host.clock.monotonic()
      this.#pass(true)
      return undefined
    }
    this.#pass(false)
    if (!result.ok && result.failure.kind !== 'refused') return result
    const said = reason ?? 'it is no board made by Sluice: it has no block that says its model'
    this.#tell(said)
    const failure: Failure = { kind: 'refused', exception: undefined, code: 'model-mismatch', reason: said }
    return { ok: false, atMs: result.atMs, failure }
  }

  #differs(response: object): string | undefined {
    const registers =
      'registers' in response && response.registers instanceof Uint8Array ? response.registers : undefined
    if (registers === undefined || registers.length < HASH_AT + MODEL_HASH_BYTES) return 'its answer has no model in it'
    if (((registers[0]! << 8) | registers[1]!) !== MAGIC) return 'it is no board made by Sluice'
    const found = hex(registers.subarray(HASH_AT, HASH_AT + MODEL_HASH_BYTES))
    if (found === this.#wanted) return undefined
    return `the board was made of another model (${found}) than the gateway has (${this.#wanted}): update one of them`
  }

  #tell(reason: string): void {
    if (this.#told === reason) return
    this.#told = reason
    this.#host.log('warn', `modbus: ${this.#device} is not served`, { reason })
    this.#host.event({
      about: this.#device,
      type: 'Warning',
      reason: 'ModelMismatch',
      message: `Not served: ${reason}. Give the gateway the generated gateway.yaml, or the board a new program.`,
    })
  }

  #pass(passed: boolean): void {
    if (passed === this.#passed) return
    this.#passed = passed
    this.#events.changed()
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
