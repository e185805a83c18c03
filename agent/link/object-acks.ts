import type { ObjectsAckFrame, ObjectsFrame } from '../../api/link/messages.ts'
import type { ObjectKey } from '../../api/resources.ts'

type Items = ObjectsAckFrame['items']

/** Of an agent's core what acknowledging needs. */
interface AckCore {
  readonly engine: { readonly roles: { catchingUp(key: ObjectKey): Promise<void> | undefined } }
  readonly batcher: { flush(): unknown }
  readonly store: { readonly lastSeq: number }
}

/**
 * The acknowledgement of a roaming device's object says that what was done under the one before is over, and what this gateway
 * overheard is told. All of that must arrive first, which holds as soon as it is sent: the hub takes frames in order.
 */
export class ObjectAcks {
  readonly #core: AckCore
  readonly #onReady: () => void
  #closed = false
  readonly #waiting: { readonly items: Items; readonly behindSeq: number }[] = []

  /** @param onReady more may be sent now */
  constructor(core: AckCore, onReady: () => void) {
    this.#core = core
    this.#onReady = onReady
  }

  /** The connection is gone: what was to be acknowledged is asked about again by the next one. */
  close(): void {
    this.#closed = true
  }

  /** What became of a frame. */
  add({ upserts }: Pick<ObjectsFrame, 'upserts'>, items: Items): void {
    const { engine, batcher, store } = this.#core
    const roams = upserts.some((each) => each.kind === 'Device' && each.object.roaming !== undefined)
    const parts = Map.groupBy(items, ({ kind, key }) => (kind === 'Device' ? engine.roles.catchingUp(key) : undefined))
    for (const [caughtUp, part] of parts) {
      const add = () => {
        this.#waiting.push({ items: part, behindSeq: roams ? store.lastSeq : 0 })
        this.#onReady()
      }
      if (caughtUp === undefined) add()
      else {
        void caughtUp.then(() => {
          if (this.#closed) return
          batcher.flush()
          add()
        })
      }
    }
  }

  /** Those before which nothing has to be sent any more. */
  *ready(sentThrough: (seq: number) => boolean): Generator<Items> {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (next.behindSeq > 0 && !sentThrough(next.behindSeq)) return
      this.#waiting.shift()
      yield next.items
    }
  }
}
