import type { PodStatusItem } from '../../api/link/pods.ts'
import type { ObjectKey } from '../../api/resources.ts'

/** The newest status of every pod, for the link and the local API: each change has a number, so that nothing is told twice. */
export class PodStatusBoard {
  readonly #onChange: () => void
  /** By namespace/name and uid: a pod and its successor of the same name may be here together for a moment. */
  readonly #items = new Map<string, { readonly item: PodStatusItem; readonly text: string; readonly change: number }>()
  #change = 0

  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  set(item: PodStatusItem): void {
    const text = JSON.stringify(item)
    const id = idOf(item)
    if (this.#items.get(id)?.text === text) return
    this.#items.set(id, { item, text, change: ++this.#change })
    this.#onChange()
  }

  /** Nobody wants to hear of it any more: its object is gone. */
  delete(key: ObjectKey, uid: string): void {
    this.#items.delete(idOf({ key, uid }))
  }

  get(key: ObjectKey, uid: string): PodStatusItem | undefined {
    return this.#items.get(idOf({ key, uid }))?.item
  }

  list(): PodStatusItem[] {
    return [...this.#items.values()].map(({ item }) => item)
  }

  since(change: number): { readonly change: number; readonly items: readonly PodStatusItem[] } {
    const items = [...this.#items.values()].filter((entry) => entry.change > change).map(({ item }) => item)
    return { change: this.#change, items }
  }
}

const idOf = ({ key, uid }: Pick<PodStatusItem, 'key' | 'uid'>): string => `${key} ${uid}`
