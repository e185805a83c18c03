import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { drained } from '../apiserver/http/exchange.ts'
import { sendJson } from './http.ts'

/** About two milliseconds of work: whoever asks for little, and the gateways, wait no longer than that. */
const A_TURN = 64

/**
 * Answers `{items, ...rest}`, each item as `view` shows it at that moment. A long list is made and sent a part a turn: ten
 * thousand devices at once would hold up the hub and every other viewer for most of a second. It is made no further than
 * the reader takes it, and no longer than there is one. What has gone meanwhile, of which `view` tells undefined, is left
 * out; whatever it throws ends the answer.
 */
export async function sendList<T>(
  response: ServerResponse,
  list: readonly T[],
  view: (item: T) => unknown,
  rest: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const shown = (items: readonly T[]) => items.map(view).filter((item) => item !== undefined)
  if (list.length <= A_TURN) return sendJson(response, 200, { items: shown(list), ...rest })
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  let before = '{"items":['
  for (let from = 0; from < list.length && !gone.signal.aborted; from += A_TURN) {
    const part = JSON.stringify(shown(list.slice(from, from + A_TURN))).slice(1, -1)
    const takesMore = part === '' || response.write(before + part)
    if (part !== '') before = ','
    if (takesMore) await nextTurn()
    else await drained(response)
  }
  if (gone.signal.aborted) return
  const end = JSON.stringify(rest).slice(1, -1)
  response.end(`${before === ',' ? '' : before}]${end === '' ? '' : `,${end}`}}\n`)
}
