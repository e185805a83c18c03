/** The largest jump ahead that is believed; more is another device, another session or an attack. */
export const MAX_GAP = 65_535

export type CounterVerdict =
  | { readonly kind: 'next'; readonly fCnt: number; readonly missed: number }
  /** The very frame that was accepted last: a repeat by the device, or a replay of it. Never delivered twice. */
  | { readonly kind: 'repeat'; readonly fCnt: number }
  /** An old counter: refused. */
  | { readonly kind: 'replay'; readonly fCnt: number }
  | { readonly kind: 'wrongMic' }

/**
 * Finds the 32-bit frame counter whose lower half is `fCnt16` (LoRaWAN 1.0.4 section 4.3.1.5) and says what it means.
 * @param last the counter accepted last, -1 for none.
 * @param fits whether the MIC is right for a counter; costs a cipher, so it is asked as seldom as possible.
 */
export function judgeCounter(last: number, fCnt16: number, fits: (fCnt: number) => boolean): CounterVerdict {
  const upper = last < 0 ? 0 : Math.floor(last / 65_536) * 65_536
  const same = upper + fCnt16
  if (same > last) return fits(same) ? { kind: 'next', fCnt: same, missed: same - last - 1 } : { kind: 'wrongMic' }
  const wrapped = same + 65_536
  if (wrapped - last <= MAX_GAP && wrapped <= 0xffff_ffff && same !== last && fits(wrapped)) {
    return { kind: 'next', fCnt: wrapped, missed: wrapped - last - 1 }
  }
  if (fits(same)) return { kind: same === last ? 'repeat' : 'replay', fCnt: same }
  const before = same - 65_536
  if (before >= 0 && fits(before)) return { kind: 'replay', fCnt: before }
  return { kind: 'wrongMic' }
}
