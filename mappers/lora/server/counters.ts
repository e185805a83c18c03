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
  const next = same > last ? same : same + 65_536
  const believable = same !== last && next - last <= MAX_GAP && next <= 0xffff_ffff
  // Before the first uplink nothing is known of the distance.
  if ((believable || last < 0) && fits(next)) return { kind: 'next', fCnt: next, missed: next - last - 1 }
  for (const old of [same, same - 65_536]) {
    if (old < 0 || old > last || !fits(old)) continue
    return { kind: old === last ? 'repeat' : 'replay', fCnt: old }
  }
  return { kind: 'wrongMic' }
}
