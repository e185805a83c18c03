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
  /** Share of the last pings that nobody answered; undefined before the first. */
  lossRatio: number | undefined
  /** The last pings, the newest last: whether each was answered. */
  readonly pings: boolean[]
  /** Address of the hub's end of the connection; behind a proxy, that of the proxy. */
  peerAddress: string | undefined
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
  lossRatio: undefined,
  pings: [],
  peerAddress: undefined,
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

/** Pings that a loss is told from: a quarter of an hour at the usual heartbeat. */
const REMEMBERED_PINGS = 60

/** Takes whether a ping was answered. */
export function observePing(status: LinkStatus, answered: boolean): void {
  status.pings.push(answered)
  if (status.pings.length > REMEMBERED_PINGS) status.pings.shift()
  status.lossRatio = status.pings.filter((each) => !each).length / status.pings.length
}
