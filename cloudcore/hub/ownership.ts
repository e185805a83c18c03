import type { BatchBody, BatchDevice } from '../../api/link/messages.ts'

/** The rows of a batch that its gateway may send, and how many it may not. */
export interface OwnedBody {
  readonly body: BatchBody
  readonly refused: number
  readonly strangers: readonly string[]
}

/** Splits off the rows of devices that `owns` does not accept. Returns the same body when there are none. */
export function ownedRows(body: BatchBody, owns: (key: string, uid: string) => boolean): OwnedBody {
  let strangers: Set<number> | undefined
  for (let index = 0; index < body.d.length; index++) {
    const [key, uid] = body.d[index]!
    if (owns(key, uid)) continue
    strangers ??= new Set()
    strangers.add(index)
  }
  if (strangers === undefined) return { body, refused: 0, strangers: [] }
  const foreign = strangers
  let refused = 0
  const mine = <Row extends readonly [device: number, ...rest: unknown[]]>(rows: readonly Row[]) => {
    const kept = rows.filter((row) => !foreign.has(row[0]))
    refused += rows.length - kept.length
    return kept
  }
  const kept: BatchBody = {
    d: body.d.map((device, index): BatchDevice => (foreign.has(index) ? ['', ''] : device)),
    ...(body.r === undefined ? {} : { r: mine(body.r) }),
    ...(body.w === undefined ? {} : { w: mine(body.w) }),
    ...(body.s === undefined ? {} : { s: mine(body.s) }),
    ...(body.n === undefined ? {} : { n: mine(body.n) }),
  }
  return { body: kept, refused, strangers: [...foreign].map((index) => body.d[index]![0]) }
}
