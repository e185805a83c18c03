import { createHash } from 'node:crypto'
import { gatewayKey, type LinkGateway, type LinkObject, type LinkObjectKind } from '../../api/link/messages.ts'
import type { Gateway, GatewaySpec, ObjectKey } from '../../api/resources.ts'
import type { ObjectSource } from '../hub/inventory.ts'

interface Held {
  readonly rev: string
  readonly object: LinkGateway
}

export type GatewayObjectListener = (name: string) => void

/** The Gateway objects as the Kubernetes API has them, each for the gateway it speaks of. */
export class GatewayObjects implements ObjectSource {
  readonly kinds = ['Gateway'] as const
  readonly #held = new Map<string, Held>()
  readonly #listeners: GatewayObjectListener[] = []

  /** Calls `listener` with the name of each gateway whose spec or labels changed, or that came or went. */
  listen(listener: GatewayObjectListener): void {
    this.#listeners.push(listener)
  }

  upsert({ metadata, spec }: Gateway): void {
    const { name, uid = name, generation = 0, labels } = metadata
    const digest = createHash('sha1')
      .update(JSON.stringify(Object.entries(labels ?? {}).sort()))
      .digest('base64url')
    const rev = `${uid.slice(0, 8)}.${generation}.${digest.slice(0, 8)}`
    if (this.#held.get(name)?.rev === rev) return
    const object = { uid, generation, spec: spec ?? {}, ...(labels === undefined ? {} : { labels }) }
    this.#held.set(name, { rev, object })
    this.#changed(name)
  }

  remove(name: string): void {
    if (this.#held.delete(name)) this.#changed(name)
  }

  spec(name: string): GatewaySpec | undefined {
    return this.#held.get(name)?.object.spec
  }

  /** Every gateway with its labels. */
  *labels(): Generator<readonly [name: string, labels: Readonly<Record<string, string>>]> {
    for (const [name, { object }] of this.#held) yield [name, object.labels ?? {}]
  }

  *wantedBy(gateway: string): Generator<{ readonly kind: LinkObjectKind; readonly key: ObjectKey }> {
    if (this.#held.has(gateway)) yield { kind: 'Gateway', key: gatewayKey(gateway) }
  }

  isWanted(gateway: string, _kind: LinkObjectKind, key: ObjectKey): boolean {
    return key === gatewayKey(gateway) && this.#held.has(gateway)
  }

  rev(gateway: string, _kind: LinkObjectKind, key: ObjectKey): string | undefined {
    return key === gatewayKey(gateway) ? this.#held.get(gateway)?.rev : undefined
  }

  linkObject(gateway: string, kind: LinkObjectKind, key: ObjectKey): LinkObject | undefined {
    const held = key === gatewayKey(gateway) ? this.#held.get(gateway) : undefined
    return held === undefined || kind !== 'Gateway' ? undefined : { kind, key, ...held }
  }

  #changed(name: string): void {
    for (const listener of this.#listeners) listener(name)
  }
}
