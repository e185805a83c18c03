/** Character and silence times of a half-duplex line, in milliseconds. */
export interface LineTiming {
  /** One character; 0 where there is no baud rate, as through a TCP gateway. */
  readonly charMs: number
  /** Silence that ends a frame and confirms an answer: t3.5; 0 through a TCP gateway, which has none. */
  readonly judgeMs: number
  /** Silence before the next request, never less than that. */
  readonly silenceMs: number
  /** Longest pause inside one frame that is still taken for the same frame. */
  readonly maxGapMs: number
}

/**
 * Serial line specification V1.02, section 2.5.1.1: t3.5 is 3.5 characters of 11 bits up to 19 200 baud and 1.75 ms
 * above. t1.5 is not enforced: USB adapters and converters break frames up for longer than that, so a frame is judged
 * by its length and check sum, and a pause ends it only after `maxGapMs`.
 */
export function serialTiming(
  serial: { baud: number; dataBits?: number; parity?: string; stopBits?: number },
  silence: { turnaroundMs?: number; pauseBetweenRequestsMs?: number; maxGapMs: number },
): LineTiming {
  const bits =
    1 +
    (serial.dataBits ?? 8) +
    (serial.parity === undefined || serial.parity === 'none' ? 0 : 1) +
    (serial.stopBits ?? 1)
  const t35Ms = serial.baud > 19_200 ? 1.75 : (3.5 * 11 * 1000) / serial.baud
  const silenceMs = Math.max(t35Ms + (silence.turnaroundMs ?? 0), silence.pauseBetweenRequestsMs ?? 0)
  return { charMs: (bits * 1000) / serial.baud, judgeMs: t35Ms, silenceMs, maxGapMs: Math.max(silence.maxGapMs, t35Ms) }
}
