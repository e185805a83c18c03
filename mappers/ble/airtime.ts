/** One octet at LE 1M, the rate that every advertisement and a fresh connection has (Core 5.4, vol 6 part B, 2.1). */
const OCTET_S = 8e-6
/** Preamble, access address, header, advertiser's address and CRC around the data of an advertisement. */
const ADVERT_OCTETS = 1 + 4 + 2 + 6 + 3
/**
 * Of a connection in which nothing is said: two empty packets of 80 µs and the 150 µs between them, at each connection event
 * of 40 ms, the middle of what BlueZ asks for.
 */
const IDLE_SHARE = (2 * 80e-6 + 150e-6) / 0.04

/** Time that one advertisement was on the air, on the one of its three channels where it was heard; seconds. */
export const advertAirS = (dataOctets: number): number => (ADVERT_OCTETS + dataOctets) * OCTET_S

/** Time that both sides of a connection were on the air; seconds, without what was read and written over it. */
export const connectionAirS = (connectedS: number): number => connectedS * IDLE_SHARE
