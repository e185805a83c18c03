import type { Json } from '../../../api/resources.ts'

/** Fields that one advertisement gave, by name. */
export type Fields = ReadonlyMap<string, Json>

/** Why a payload that is of this format gave nothing. */
export interface Refusal {
  /** For `bad(...)`: `malformed`, `no-key`, `mic`, `replay`. */
  readonly code: string
  readonly reason: string
}

export type Decoded =
  | {
      readonly ok: true
      readonly fields: Fields
      /** Grows with every new measurement of an encrypted device; the same number again is the same measurement. */
      readonly counter?: number
    }
  | { readonly ok: false; readonly refusal: Refusal }

export interface DecodeContext {
  /** Six bytes as they are written, highest first. */
  readonly mac: Uint8Array
  /** 16 bytes. */
  readonly key?: Uint8Array
}

export const fields = (entries: Iterable<readonly [string, Json]>): Decoded => ({ ok: true, fields: new Map(entries) })

export const refused = (code: string, reason: string): Decoded => ({ ok: false, refusal: { code, reason } })

export const malformed = (reason: string): Decoded => refused('malformed', reason)

export const NO_KEY = refused('no-key', 'the device encrypts its advertisements and no bindKey is given')

/** Removes what binary fractions leave behind: 25.06 and not 25.060000000000002. Nine decimals below a million, else six. */
export function tidy(value: number): number {
  const size = Math.abs(value)
  const power = size < 1e6 ? 1e9 : 1e6
  return size < 1e9 ? Math.round(value * power) / power : value
}
