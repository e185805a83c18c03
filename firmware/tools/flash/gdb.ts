import { type Clock, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import type { ByteLine } from '../smp/transport.ts'
import type { FlashRegion } from './uf2.ts'

/**
 * GDB's remote serial protocol ("Debugging with GDB", appendix E), as far as writing and comparing memory needs it. Speaks
 * to QEMU, rp2040js, OpenOCD, pyOCD, Black Magic Probe and the like: announced flash regions are erased and written with
 * vFlash, everything else with X or M.
 */

const CHUNK_BYTES = 1024
const ANSWER_MAX = 64 * 1024
const RETRIES = 3

export interface GdbOptions {
  readonly clock?: Clock
  /** For one answer. Default 5000; erasing gets ten times as long. */
  readonly timeoutMs?: number
}

/** A region of the target's memory map. */
interface FlashArea {
  readonly start: number
  readonly length: number
  readonly blockBytes: number
}

const sumOf = (body: Uint8Array): number => body.reduce((sum, byte) => (sum + byte) & 0xff, 0)
const refused = (what: string, answer: string): SluiceError =>
  new SluiceError('SLUICE_FW_GDB_REFUSED', `the GDB server refused to ${what}: '${answer.slice(0, 40)}'`, {
    hint: 'Halt the target, and check that the server knows its flash ("monitor" commands of OpenOCD and pyOCD).',
  })

/** Bytes of a body with `#`, `$`, `}` and `*` escaped. */
export function escapeBinary(bytes: Uint8Array): Uint8Array {
  const out: number[] = []
  for (const byte of bytes) {
    if (byte === 0x23 || byte === 0x24 || byte === 0x7d || byte === 0x2a) out.push(0x7d, byte ^ 0x20)
    else out.push(byte)
  }
  return Uint8Array.from(out)
}

/** Undoes escapes and run-length encoding (`0*` followed by count + 29). */
export function unescapeBody(body: Uint8Array): Uint8Array {
  const out: number[] = []
  for (let at = 0; at < body.length; at++) {
    const byte = body[at]!
    if (byte === 0x7d) out.push((body[++at] ?? 0) ^ 0x20)
    else if (byte === 0x2a && out.length > 0) {
      const count = (body[++at] ?? 29) - 29
      const last = out.at(-1)!
      for (let i = 0; i < count && out.length < ANSWER_MAX; i++) out.push(last)
    } else out.push(byte)
  }
  return Uint8Array.from(out)
}

export class GdbClient implements Disposable {
  readonly #line: ByteLine
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #stop: () => void
  #heard: number[] = []
  #wake: () => void = () => {}
  #packetBytes = CHUNK_BYTES
  #map: readonly FlashArea[] = []
  #binary = true

  constructor(line: ByteLine, options: GdbOptions = {}) {
    this.#line = line
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = options.timeoutMs ?? 5000
    this.#stop = line.onData((chunk) => {
      for (const byte of chunk) if (this.#heard.length < 2 * ANSWER_MAX) this.#heard.push(byte)
      this.#wake()
    })
  }

  /** Says hello, halts the target and asks where its flash is. */
  async open(signal?: AbortSignal): Promise<void> {
    const features = await this.ask('qSupported:swbreak+', signal)
    const size = /PacketSize=([0-9a-f]+)/i.exec(features)?.[1]
    if (size !== undefined)
      this.#packetBytes = Math.max(64, Math.min(CHUNK_BYTES, (Number.parseInt(size, 16) - 32) >> 1))
    await this.ask('?', signal)
    if (features.includes('qXfer:memory-map:read+')) this.#map = parseMemoryMap(await this.#transfer(signal))
  }

  /** Writes regions, erasing where the target announces flash. `onProgress`: bytes written. */
  async write(
    regions: readonly FlashRegion[],
    options: { readonly signal?: AbortSignal; readonly onProgress?: (bytes: number) => void } = {},
  ): Promise<void> {
    const { signal, onProgress } = options
    const blocks = new Map<number, number>()
    for (const { address, bytes } of regions) {
      const area = this.#areaOf(address, bytes.length)
      if (area === undefined) continue
      const { start, blockBytes } = area
      for (let at = address - ((address - start) % blockBytes); at < address + bytes.length; at += blockBytes)
        blocks.set(at, blockBytes)
    }
    for (const [at, size] of blocks)
      await this.#ok(`vFlashErase:${at.toString(16)},${size.toString(16)}`, 'erase', signal, 10)
    let done = 0
    for (const { address, bytes } of regions) {
      const flash = this.#areaOf(address, bytes.length) !== undefined
      for (let at = 0; at < bytes.length; at += this.#packetBytes) {
        const part = bytes.subarray(at, at + this.#packetBytes)
        if (flash) await this.#flash(address + at, part, signal)
        else await this.#memory(address + at, part, signal)
        done += part.length
        onProgress?.(done)
      }
    }
    if (blocks.size > 0) await this.#ok('vFlashDone', 'finish', signal, 10)
  }

  /** Memory as the target has it. */
  async read(address: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    for (let at = 0; at < length; at += this.#packetBytes) {
      const size = Math.min(this.#packetBytes, length - at)
      const answer = await this.ask(`m${(address + at).toString(16)},${size.toString(16)}`, signal)
      if (!/^([0-9a-f]{2})+$/i.test(answer) || answer.length !== 2 * size) throw refused('read', answer)
      parts.push(Buffer.from(answer, 'hex'))
    }
    return Buffer.concat(parts)
  }

  /** Restarts the target and lets it run. */
  async run(signal?: AbortSignal): Promise<void> {
    // QEMU knows the first word, OpenOCD and pyOCD the second; a probe that knows neither lets it run on from where it is.
    for (const word of ['system_reset', 'reset']) {
      if ((await this.#monitor(word, signal)) === 'OK') break
    }
    await this.ask('D', signal)
  }

  /** One command and its answer. */
  async ask(command: string, signal?: AbortSignal, patience = 1): Promise<string> {
    return Buffer.from(await this.#exchange(Buffer.from(command, 'latin1'), signal, patience)).toString('latin1')
  }

  [Symbol.dispose](): void {
    this.#stop()
  }

  async #flash(address: number, part: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const head = Buffer.from(`vFlashWrite:${address.toString(16)}:`, 'latin1')
    const answer = await this.#exchange(Buffer.concat([head, escapeBinary(part)]), signal, 10)
    const text = Buffer.from(answer).toString('latin1')
    if (text !== 'OK') throw refused('write flash', text)
  }

  async #memory(address: number, part: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const place = `${address.toString(16)},${part.length.toString(16)}:`
    if (this.#binary) {
      const body = Buffer.concat([Buffer.from(`X${place}`, 'latin1'), escapeBinary(part)])
      const answer = Buffer.from(await this.#exchange(body, signal, 1)).toString('latin1')
      if (answer === 'OK') return
      if (answer !== '') throw refused('write memory', answer)
      this.#binary = false
    }
    await this.#ok(`M${place}${Buffer.from(part).toString('hex')}`, 'write memory', signal)
  }

  async #ok(command: string, what: string, signal: AbortSignal | undefined, patience = 1): Promise<void> {
    const answer = await this.ask(command, signal, patience)
    if (answer !== 'OK') throw refused(what, answer)
  }

  /** A command of the server itself; what it prints comes before the answer, in packets of their own. */
  async #monitor(words: string, signal: AbortSignal | undefined): Promise<string> {
    let answer = await this.ask(`qRcmd,${Buffer.from(words).toString('hex')}`, signal)
    while (answer !== 'OK' && /^O([0-9a-f]{2})+$/i.test(answer)) {
      const next = await this.#answer(this.#timeoutMs, signal)
      if (next === undefined) return ''
      answer = Buffer.from(next).toString('latin1')
    }
    return answer
  }

  async #transfer(signal: AbortSignal | undefined): Promise<string> {
    let text = ''
    for (;;) {
      const answer = await this.ask(`qXfer:memory-map:read::${text.length.toString(16)},400`, signal)
      text += answer.slice(1)
      if (!answer.startsWith('m') || text.length > ANSWER_MAX) return text
    }
  }

  #areaOf(address: number, length: number): FlashArea | undefined {
    return this.#map.find((area) => address >= area.start && address + length <= area.start + area.length)
  }

  async #exchange(body: Uint8Array, signal: AbortSignal | undefined, patience: number): Promise<Uint8Array> {
    const sum = sumOf(body).toString(16).padStart(2, '0')
    const packet = Buffer.concat([Buffer.from('$'), body, Buffer.from(`#${sum}`)])
    for (let tries = 0; tries < RETRIES; tries++) {
      signal?.throwIfAborted()
      this.#heard = []
      await this.#line.write(packet)
      const answer = await this.#answer(this.#timeoutMs * patience, signal)
      if (answer !== undefined) return answer
    }
    throw new SluiceError('SLUICE_FW_GDB', 'the GDB server does not answer', {
      hint: 'Check its port, and that no other debugger is connected.',
    })
  }

  /** The next whole packet; undefined when it came damaged or was not taken. */
  async #answer(timeoutMs: number, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const late = new AbortController()
    const timer = this.#clock.after(timeoutMs, () => late.abort())
    const ends = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal])
    try {
      for (;;) {
        const start = this.#heard.indexOf(0x24)
        const end = start < 0 ? -1 : this.#heard.indexOf(0x23, start)
        if (start < 0 && this.#heard.includes(0x2d)) return undefined
        if (end >= 0 && this.#heard.length >= end + 3) {
          const body = Uint8Array.from(this.#heard.slice(start + 1, end))
          const said = String.fromCharCode(...this.#heard.slice(end + 1, end + 3)).toLowerCase()
          this.#heard.splice(0, end + 3)
          const good = said === sumOf(body).toString(16).padStart(2, '0')
          await this.#line.write(Buffer.from(good ? '+' : '-'))
          return good ? unescapeBody(body) : undefined
        }
        if (ends.aborted) {
          signal?.throwIfAborted()
          return undefined
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve
          ends.addEventListener('abort', () => resolve(), { once: true })
        })
      }
    } finally {
      timer.cancel()
      this.#wake = () => {}
    }
  }
}

/** Flash regions of a target's memory map (XML; only attributes and one property are looked at). */
export function parseMemoryMap(xml: string): FlashArea[] {
  const areas: FlashArea[] = []
  for (const [, attributes = '', inner = ''] of xml.matchAll(/<memory\s([^>]*[^/>])>([\s\S]*?)<\/memory>/g)) {
    const field = (name: string) => Number(new RegExp(`\\b${name}\\s*=\\s*["']([^"']*)["']`).exec(attributes)?.[1])
    if (!/\btype\s*=\s*["']flash["']/.test(attributes)) continue
    const blockBytes = Number(/<property[^>]*name\s*=\s*["']blocksize["'][^>]*>\s*([^<\s]+)\s*</.exec(inner)?.[1])
    const [start, length] = [field('start'), field('length')]
    const good = [start, length, blockBytes].every((value) => Number.isSafeInteger(value) && value >= 0)
    if (good && blockBytes > 0) areas.push({ start, length, blockBytes })
  }
  return areas
}
