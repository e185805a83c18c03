/** What is known about the link to the hub; times in milliseconds. */
export interface LinkStatus {
  connected: boolean
  hubUrl: string
  connectedSinceMs: number | undefined
  /** Why there is no connection, while there is none. */
  downReason: string | undefined
  reconnects: number
  roundTripMs: number | undefined
  /** Smoothed absolute difference of successive round trips (RFC 3550, section 6.4.1: gain 1/16). */
  jitterMs: number
  /** Hub's clock minus ours at the last welcome. */
  clockOffsetMs: number | undefined
  lastError: { readonly code: string; readonly message: string } | undefined
  sentValues: number
  sentBytes: number
  ackedBatches: number
}

export const newLinkStatus = (hubUrl: string): LinkStatus => ({
  connected: false,
  hubUrl,
  connectedSinceMs: undefined,
  downReason: undefined,
  reconnects: -1,
  roundTripMs: undefined,
  jitterMs: 0,
  clockOffsetMs: undefined,
  lastError: undefined,
  sentValues: 0,
  sentBytes: 0,
  ackedBatches: 0,
})

/** Takes a measured round trip. */
export function observeRoundTrip(status: LinkStatus, roundTripMs: number): void {
  if (status.roundTripMs !== undefined) {
    status.jitterMs += (Math.abs(roundTripMs - status.roundTripMs) - status.jitterMs) / 16
  }
  status.roundTripMs = roundTripMs
}
