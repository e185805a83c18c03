import type { BatchBody, BatchDevice, ReportRow } from '../../api/link/messages.ts'
import type { Admission } from '../roaming/terms.ts'
import type { ToldValue } from '../roaming/told-value.ts'

/** What of a device's rows a gateway may tell: nothing of a stranger, and of a term that is over what came before. */
export type Ownership = Admission | 'stranger'

/** The rows of a batch that its gateway may send, and how many it may not. */
export interface OwnedBody {
  readonly body: BatchBody
  /** Of devices that were never this gateway's. */
  readonly refused: number
  /** Of terms that are over, and known from whoever serves the device since. */
  readonly fenced: number
  readonly strangers: readonly string[]
}

/**
 * Splits off the rows that do not count. Returns the same body when all of them do.
 *
 * @param offsetMs brings source times of the gateway to the hub's clock
 */
export function ownedRows(
  body: BatchBody,
  owns: (key: string, uid: string, term: number) => Ownership,
  offsetMs: number,
): OwnedBody {
  const limits = new Map<number, Exclude<Ownership, 'all'>>()
  for (const [index, [key, uid, term = 0]] of body.d.entries()) {
    const ownership = owns(key, uid, term)
    if (ownership !== 'all') limits.set(index, ownership)
  }
  if (limits.size === 0) return { body, refused: 0, fenced: 0, strangers: [] }
  let refused = 0
  let fenced = 0
  const mine = <Row extends readonly [device: number, ...rest: unknown[]]>(
    rows: readonly Row[],
    late: (row: Row, isNews: (told: ToldValue) => boolean) => boolean,
  ) =>
    rows.filter((row) => {
      const limit = limits.get(row[0])
      if (limit === undefined) return true
      if (limit === 'stranger') refused++
      else if (limit !== 'none' && late(row, limit)) return true
      else fenced++
      return false
    })
  const lateValue = ([, property, value, atMs]: ReportRow, isNews: (told: ToldValue) => boolean) =>
    isNews({ property, value, atMs: atMs + offsetMs })
  const strange = (index: number) => limits.get(index) === 'stranger'
  const kept: BatchBody = {
    d: body.d.map((device, index): BatchDevice => (strange(index) ? ['', ''] : device)),
    ...(body.r === undefined ? {} : { r: mine(body.r, lateValue) }),
    ...(body.w === undefined ? {} : { w: mine(body.w, () => true) }),
    ...(body.s === undefined ? {} : { s: mine(body.s, () => false) }),
    ...(body.n === undefined ? {} : { n: mine(body.n, () => false) }),
  }
  const strangers = [...limits.keys()].filter(strange).map((index) => body.d[index]![0])
  return { body: kept, refused, fenced, strangers }
}
