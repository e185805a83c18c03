import type { FirmwareStatusItem } from '../../api/link/firmware.ts'
import type { ObjectKey } from '../../api/resources.ts'

/** The newest word on every update, for the link: each change has a number, so that nothing is told twice. */
export class UpdateBoard {
  readonly #onChange: () => void
  readonly #items = new Map<
    ObjectKey,
    { readonly item: FirmwareStatusItem; readonly text: string; readonly change: number }
  >()
  #change = 0

  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  set(item: FirmwareStatusItem): void {
    const text = JSON.stringify(item)
    if (this.#items.get(item.key)?.text === text) return
    this.#items.set(item.key, { item, text, change: ++this.#change })
    this.#onChange()
  }

  /** Nobody orders anything of this device any more. */
  delete(key: ObjectKey): void {
    this.#items.delete(key)
  }

  get(key: ObjectKey): FirmwareStatusItem | undefined {
    return this.#items.get(key)?.item
  }

  since(change: number): { readonly change: number; readonly items: readonly FirmwareStatusItem[] } {
    const items = [...this.#items.values()].filter((entry) => entry.change > change).map(({ item }) => item)
    return { change: this.#change, items }
  }
}
