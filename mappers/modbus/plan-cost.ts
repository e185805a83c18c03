import type { LineShape } from './device-config.ts'
import { isBitTable } from './point.ts'
import type { Table } from './tables.ts'

/** 100 Mbit/s with frame overhead, rounded; small enough that a round trip outweighs any gap. */
const BYTE_ON_TCP_MS = 0.0001

/** What a read costs on a link: `fixedMs + byteMs * data bytes of the answer`. */
export interface ReadCost {
  readonly fixedMs: number
  readonly byteMs: number
}

/**
 * RTU: 8 characters of request, 5 of the answer besides its data, two silences and the device's thinking. ASCII: two
 * characters a byte, 17 and 11 of frame. TCP: the round trip; its bytes are nearly free.
 * `turnaroundMs`: the device's thinking, beyond the silence that ends the request; on TCP the whole round trip.
 */
export function readCost(line: LineShape, turnaroundMs: number): ReadCost {
  if (line.kind === 'tcp') return { fixedMs: Math.max(0.05, turnaroundMs), byteMs: BYTE_ON_TCP_MS }
  const frame = line.kind === 'rtu' ? 13 : 28
  return {
    fixedMs: frame * line.charMs + 2 * line.silenceMs + turnaroundMs,
    byteMs: line.kind === 'rtu' ? line.charMs : 2 * line.charMs,
  }
}

/** A measured turnaround runs from the request's last byte, so on RTU it has the silence of the frame's end in it. */
export const thinkingMs = (line: LineShape, measuredMs: number): number =>
  line.kind === 'tcp' ? measuredMs : Math.max(0, measuredMs - line.silenceMs)

export const dataBytes = (table: Table, count: number): number => (isBitTable(table) ? Math.ceil(count / 8) : 2 * count)

export const requestMs = (cost: ReadCost, table: Table, count: number): number =>
  cost.fixedMs + cost.byteMs * dataBytes(table, count)

/**
 * Registers that may lie between two wanted ones before asking twice is cheaper than reading through:
 * `g* = (13 tc + 2 t3.5 + Tturn) / (2 tc)`, the frame of a request over the time of one register.
 */
export const worthwhileGap = (cost: ReadCost): number => Math.floor(cost.fixedMs / (2 * cost.byteMs))
