const clamp = (value: number): number => Math.min(1, Math.max(0, value))

/**
 * Quality of a wireless reception, 0 to 1. By signal: -50 dBm and above is perfect, -90 dBm unusable (802.11 wants
 * -82 dBm for its slowest OFDM rate). By signal-to-noise: 35 dB is perfect, 5 dB unusable. The worse of the two counts,
 * less what had to be sent again in vain.
 */
export function receptionQuality(
  signalDbm: number | undefined,
  snrDb: number | undefined,
  retryRatio: number | undefined,
): number | undefined {
  const parts = [
    ...(signalDbm === undefined ? [] : [(signalDbm + 90) / 40]),
    ...(snrDb === undefined ? [] : [(snrDb - 5) / 30]),
  ]
  if (parts.length === 0) return undefined
  return clamp(Math.min(...parts) * (1 - clamp(retryRatio ?? 0)))
}

/** Quality of a wire, 0 to 1: one frame in twenty broken makes it unusable. */
export const wireQuality = (errorRatio: number): number => clamp(1 - errorRatio * 20)

const GOOD_ROUND_TRIP_MS = 150
const USELESS_ROUND_TRIP_MS = 5000

/**
 * Quality of the way to the hub, 0 to 1: the interface's own, times what loss and a long round trip leave of it. Up to
 * 150 ms cost nothing, 5 s leave a tenth; in between it falls with the logarithm.
 */
export function wayQuality(
  interfaceQuality: number | undefined,
  roundTripMs: number | undefined,
  lossRatio: number | undefined,
): number {
  const slow =
    roundTripMs === undefined || roundTripMs <= GOOD_ROUND_TRIP_MS
      ? 0
      : Math.log(roundTripMs / GOOD_ROUND_TRIP_MS) / Math.log(USELESS_ROUND_TRIP_MS / GOOD_ROUND_TRIP_MS)
  const kept = 1 - clamp(lossRatio ?? 0)
  return clamp((interfaceQuality ?? 1) * (1 - 0.9 * clamp(slow)) * kept * kept)
}
