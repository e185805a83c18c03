import type { KubeObject } from '../objects.ts'

export type RevisionType = 'ADDED' | 'MODIFIED' | 'DELETED'

/** Which object: `resource` is the storage name of the kind (`pods`, `devices.sluice.dev`), namespace '' if it has none. */
export interface ObjectKey {
  readonly resource: string
  readonly namespace: string
  readonly name: string
}

/** An object as stored: its JSON text, parsed at most once and only when somebody looks inside. */
export class StoredObject {
  readonly rv: number
  readonly body: string
  #object: KubeObject | undefined

  constructor(rv: number, body: string, object?: KubeObject) {
    this.rv = rv
    this.body = body
    this.#object = object
  }

  get object(): KubeObject {
    this.#object ??= parseStored(this.body)
    return this.#object
  }
}

function parseStored(body: string): KubeObject {
  return JSON.parse(body)
}

/** One change of one object. `encoded` keeps what watchers were sent, so that a hundred of them cost one encoding. */
export class Revision {
  readonly key: ObjectKey
  readonly type: RevisionType
  /** After the change; for DELETED the last state, carrying the revision of the deletion. */
  readonly stored: StoredObject
  /** Before the change; undefined for ADDED. */
  readonly previous: StoredObject | undefined
  readonly encoded = new Map<string, Buffer>()

  constructor(key: ObjectKey, type: RevisionType, stored: StoredObject, previous: StoredObject | undefined) {
    this.key = key
    this.type = type
    this.stored = stored
    this.previous = previous
  }

  get rv(): number {
    return this.stored.rv
  }
}
