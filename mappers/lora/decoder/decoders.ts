import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../../api/clock.ts'
import type { Json } from '../../../api/resources.ts'
import { DecoderProcess, type ProcessAnswer } from './decoder-process.ts'

/** The process is ended when nothing was decoded for this long: it costs about 45 MiB while it lives. */
const IDLE_MS = 60_000
const MAX_WAITING = 2000
const MAX_RECORDS = 256
/** After so many time-outs or crashes in a row a decoder rests, so that it cannot hold up the others. */
const STRIKES = 3
const FIRST_REST_MS = 60_000
const MAX_REST_MS = 3_600_000

export interface DecoderSource {
  readonly source: string
  readonly timeLimitMs: number
}

export type DecoderCall =
  | { readonly kind: 'decode'; readonly bytes: Uint8Array; readonly port: number; readonly atMs: number }
  | { readonly kind: 'encode'; readonly data: Json; readonly port: number | undefined }

export type DecoderResult =
  | { readonly ok: true; readonly data: Json; readonly warnings: readonly string[] }
  | { readonly ok: true; readonly bytes: Uint8Array; readonly port: number | undefined }
  | {
      readonly ok: false
      readonly code:
        | 'decoder-error'
        | 'decoder-timeout'
        | 'decoder-crash'
        | 'decoder-resting'
        | 'decoder-missing'
        | 'decoder-busy'
      /** Names the line, where there is one. */
      readonly reason: string
    }

interface Job {
  readonly decoder: DecoderSource
  readonly call: DecoderCall
  readonly resolve: (result: DecoderResult) => void
}

interface Record {
  readonly key: string
  strikes: number
  restMs: number
  restUntilMs: number
}

/** Runs vendors' decoders, one call after the other, in one process that is started when the first is needed. */
export class Decoders {
  readonly #clock: Clock
  readonly #start: (clock: Clock) => DecoderProcess
  readonly #records = new Map<string, Record>()
  readonly #waiting: Job[] = []
  /** What ended badly, by code. */
  readonly failures: { [code: string]: number } = {}
  #process: DecoderProcess | undefined
  #running = false
  #idle: Timer | undefined
  #disposed = false

  constructor(clock: Clock, start: (clock: Clock) => DecoderProcess = (own) => new DecoderProcess(own)) {
    this.#clock = clock
    this.#start = start
  }

  /** Never rejects. */
  call(decoder: DecoderSource, call: DecoderCall): Promise<DecoderResult> {
    const resting = this.#resting(decoder)
    if (resting !== undefined) return Promise.resolve(this.#failed('decoder-resting', resting))
    if (this.#disposed || this.#waiting.length >= MAX_WAITING) {
      return Promise.resolve(this.#failed('decoder-busy', `${this.#waiting.length} payloads wait for the decoders`))
    }
    return new Promise((resolve) => {
      this.#waiting.push({ decoder, call, resolve })
      if (!this.#running) void this.#run()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.#idle?.cancel()
    for (const job of this.#waiting.splice(0)) job.resolve(this.#failed('decoder-busy', 'the agent is stopping'))
    await this.#process?.close()
    this.#process = undefined
  }

  async #run(): Promise<void> {
    this.#running = true
    this.#idle?.cancel()
    for (let job = this.#waiting.shift(); job !== undefined; job = this.#waiting.shift()) {
      job.resolve(await this.#one(job))
    }
    this.#running = false
    if (this.#disposed) return
    this.#idle = this.#clock.after(
      IDLE_MS,
      () => {
        void this.#process?.close()
        this.#process = undefined
      },
      true,
    )
  }

  async #one({ decoder, call }: Job): Promise<DecoderResult> {
    const resting = this.#resting(decoder)
    if (resting !== undefined) return this.#failed('decoder-resting', resting)
    const record = this.#record(decoder.source)
    const text = JSON.stringify(call.kind === 'decode' ? { ...call, bytes: [...call.bytes] } : call)
    const request = { key: record.key, call: text, timeLimitMs: decoder.timeLimitMs }
    if (this.#process?.alive !== true) this.#process = this.#start(this.#clock)
    let answer = await this.#process.ask(request)
    if (answer.kind === 'needSource') answer = await this.#process.ask({ ...request, source: decoder.source })
    return this.#judge(record, decoder, answer)
  }

  #judge(record: Record, decoder: DecoderSource, answer: ProcessAnswer): DecoderResult {
    switch (answer.kind) {
      case 'result':
        record.strikes = 0
        record.restMs = FIRST_REST_MS
        return this.#read(answer.text)
      case 'timedOut':
        this.#strike(record)
        return this.#failed(
          'decoder-timeout',
          `the decoder did not end within ${decoder.timeLimitMs} ms and was stopped`,
        )
      default:
        if (!this.#disposed) this.#strike(record)
        return this.#failed(
          'decoder-crash',
          `the decoder's process is gone: ${answer.kind === 'died' ? answer.reason : answer.kind}`,
        )
    }
  }

  #read(text: string): DecoderResult {
    const result = parse(text)
    if (result === undefined) return this.#failed('decoder-error', 'the decoder gave nothing readable')
    if (typeof result['missing'] === 'string') {
      return this.#failed('decoder-missing', `the decoder has no function ${result['missing']}`)
    }
    if (typeof result['error'] === 'string') {
      const line = lineOf(result['stack'])
      return this.#failed('decoder-error', `${line === undefined ? '' : `line ${line}: `}${result['error']}`)
    }
    const { bytes, port, data, warnings } = result
    if (Array.isArray(bytes)) {
      const fits = bytes.length <= 242 && bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)
      if (!fits) return this.#failed('decoder-error', 'the encoder gave something else than at most 242 bytes')
      const own = typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 223 ? port : undefined
      return { ok: true, bytes: Uint8Array.from(bytes as number[]), port: own }
    }
    if (data === undefined) return this.#failed('decoder-error', 'the decoder returned no data')
    return { ok: true, data, warnings: Array.isArray(warnings) ? warnings.map(String) : [] }
  }

  #strike(record: Record): void {
    record.strikes++
    if (record.strikes < STRIKES) return
    record.restUntilMs = this.#clock.monotonic() + record.restMs
    record.restMs = Math.min(MAX_REST_MS, record.restMs * 2)
    record.strikes = STRIKES - 1
  }

  #resting({ source }: DecoderSource): string | undefined {
    const record = this.#record(source)
    const leftMs = record.restUntilMs - this.#clock.monotonic()
    if (leftMs <= 0) return undefined
    return `the decoder failed ${STRIKES} times in a row by time or memory and rests for ${Math.ceil(leftMs / 1000)} s`
  }

  #record(source: string): Record {
    let record = this.#records.get(source)
    if (record === undefined) {
      if (this.#records.size >= MAX_RECORDS) this.#records.delete(this.#records.keys().next().value!)
      const key = createHash('sha256').update(source).digest('base64')
      record = { key, strikes: 0, restMs: FIRST_REST_MS, restUntilMs: 0 }
      this.#records.set(source, record)
    }
    return record
  }

  #failed(code: Extract<DecoderResult, { ok: false }>['code'], reason: string): DecoderResult {
    this.failures[code] = (this.failures[code] ?? 0) + 1
    return { ok: false, code, reason }
  }
}

function parse(text: string): { readonly [key: string]: Json } | undefined {
  try {
    const value = JSON.parse(text) as Json
    return typeof value === 'object' && value !== null ? (value as { readonly [key: string]: Json }) : undefined
  } catch {
    return undefined
  }
}

/** The line of the decoder an error came from, out of its stack. */
function lineOf(stack: Json | undefined): number | undefined {
  const line = typeof stack === 'string' ? /decoder\.js:(\d+)/.exec(stack)?.[1] : undefined
  return line === undefined ? undefined : Number(line)
}
