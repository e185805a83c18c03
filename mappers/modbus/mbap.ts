import { maxPduLength } from './codec.ts'

/** Transaction id, protocol 0, length of what follows, unit (Messaging on TCP/IP V1.0b, section 3.1.3). */
export const mbapHeaderLength = 7

/** Unit and the shortest and longest PDU. */
const leastLength = 1 + 2
const mostLength = 1 + maxPduLength

export function putMbapHeader(target: Uint8Array, at: number, id: number, unit: number, pduLength: number): void {
  target[at] = id >> 8
  target[at + 1] = id & 0xff
  target[at + 2] = 0
  target[at + 3] = 0
  target[at + 4] = (pduLength + 1) >> 8
  target[at + 5] = (pduLength + 1) & 0xff
  target[at + 6] = unit
}

/** Unit at `bytes[start]`, PDU after it up to `end`; only valid during the call. */
export type OnMbapFrame = (bytes: Uint8Array, id: number, start: number, end: number) => void

/** Cuts a TCP stream into MBAP frames, however it is chunked. Whole frames inside a chunk are not copied. */
export class MbapReader {
  readonly #onFrame: OnMbapFrame
  readonly #rest = new Uint8Array(6 + mostLength)
  #restLength = 0

  constructor(onFrame: OnMbapFrame) {
    this.#onFrame = onFrame
  }

  reset(): void {
    this.#restLength = 0
  }

  /** Returns what is wrong when the stream is no MBAP; nothing after that point can be trusted. */
  push(chunk: Uint8Array): string | undefined {
    let at = 0
    while (this.#restLength > 0 && at < chunk.length) {
      const wanted = this.#restLength < 6 ? 6 : 6 + lengthAt(this.#rest, 0)
      const take = Math.min(wanted - this.#restLength, chunk.length - at)
      this.#rest.set(chunk.subarray(at, at + take), this.#restLength)
      this.#restLength += take
      at += take
      if (this.#restLength < 6) return undefined
      const problem = headerProblem(this.#rest, 0)
      if (problem !== undefined) return problem
      if (this.#restLength < 6 + lengthAt(this.#rest, 0)) continue
      const end = this.#restLength
      this.#restLength = 0
      this.#onFrame(this.#rest, idAt(this.#rest, 0), 6, end)
    }
    while (at + 6 <= chunk.length) {
      const problem = headerProblem(chunk, at)
      if (problem !== undefined) return problem
      const end = at + 6 + lengthAt(chunk, at)
      if (end > chunk.length) break
      this.#onFrame(chunk, idAt(chunk, at), at + 6, end)
      at = end
    }
    if (at < chunk.length) {
      this.#rest.set(chunk.subarray(at), 0)
      this.#restLength = chunk.length - at
    }
    return undefined
  }
}

function idAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 4]! << 8) | bytes[at + 5]!
}

function headerProblem(bytes: Uint8Array, at: number): string | undefined {
  if (bytes[at + 2] !== 0 || bytes[at + 3] !== 0) return `protocol id ${(bytes[at + 2]! << 8) | bytes[at + 3]!}, not 0`
  const length = lengthAt(bytes, at)
  return length < leastLength || length > mostLength
    ? `length ${length}, not ${leastLength} to ${mostLength}`
    : undefined
}
