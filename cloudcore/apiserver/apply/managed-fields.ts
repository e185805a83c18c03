import type { Schema } from '../crd/schema.ts'
import { ApiStatusError } from '../http/status.ts'
import type { KubeObject, ManagedFieldsEntry } from '../objects.ts'
import { kubeTime, withMetadata } from '../objects.ts'
import { compare, toFieldSet } from './compare.ts'
import type { FieldSet } from './field-set.ts'
import {
  decodeFields,
  difference,
  EMPTY,
  encodeFields,
  fieldSet,
  intersection,
  isEmpty,
  paths,
  union,
} from './field-set.ts'
import { withMetadataSchema } from './structure.ts'
import { mergeApplied, removeGivenUp } from './structured-merge.ts'

/** Who writes, and through which door. */
export interface Writer {
  readonly manager: string
  readonly subresource: string | undefined
  readonly nowMs: number
}

/** More Update entries than this are folded into the oldest (the real server's limit). */
const MAX_UPDATE_ENTRIES = 10

/** What nobody owns: the server keeps it. */
const UNOWNED: FieldSet = fieldSet(
  false,
  new Map([
    ['f:apiVersion', leaf()],
    ['f:kind', leaf()],
    [
      'f:metadata',
      fieldSet(
        true,
        new Map(
          'name namespace generateName creationTimestamp selfLink uid generation managedFields resourceVersion deletionTimestamp deletionGracePeriodSeconds'
            .split(' ')
            .map((name) => [`f:${name}`, leaf()]),
        ),
      ),
    ],
  ]),
)

function leaf(): FieldSet {
  return { member: true, children: new Map() }
}

/** Everything below these fields belongs to the other door (status here, the rest there). */
export function withoutFields(set: FieldSet, names: readonly string[]): FieldSet {
  const dropped = new Set(names.map((name) => `f:${name}`))
  const kept = [...set.children].filter(([element]) => !dropped.has(element))
  return kept.length === set.children.size ? set : fieldSet(set.member, new Map(kept))
}

/**
 * The entries after a create, update or patch by `writer`: what it changed is now its own and nobody else's, what it
 * removed is nobody's. Returns the same array when nothing changed.
 */
export function afterUpdate(
  before: KubeObject | undefined,
  after: KubeObject,
  schema: Schema,
  entries: readonly ManagedFieldsEntry[],
  writer: Writer,
): readonly ManagedFieldsEntry[] {
  const whole = withMetadataSchema(schema)
  const difference_ = compare(before ?? {}, after, whole)
  const changed = difference(difference_.changed, UNOWNED)
  const removed = difference_.removed
  if (isEmpty(changed) && isEmpty(removed)) return entries
  const isOwn = (entry: ManagedFieldsEntry) =>
    entry.operation === 'Update' &&
    entry.manager === writer.manager &&
    (entry.subresource ?? '') === (writer.subresource ?? '')
  const own = entries.find(isOwn)
  const taken = union(changed, removed)
  const others = entries
    .filter((entry) => entry !== own)
    .flatMap((entry) => withSet(entry, difference(decodeFields(entry.fieldsV1), taken)))
  const ownBefore = own === undefined ? EMPTY : decodeFields(own.fieldsV1)
  const ownAfter = union(difference(ownBefore, removed), changed)
  if (isEmpty(ownAfter)) return others
  const entry: ManagedFieldsEntry = {
    manager: writer.manager,
    operation: 'Update',
    apiVersion: after.apiVersion,
    time: kubeTime(writer.nowMs),
    fieldsType: 'FieldsV1',
    fieldsV1: ownAfter === ownBefore && own !== undefined ? own.fieldsV1 : encodeFields(ownAfter),
    ...(writer.subresource === undefined ? {} : { subresource: writer.subresource }),
  }
  return fold([...others, entry])
}

function withSet(entry: ManagedFieldsEntry, set: FieldSet): ManagedFieldsEntry[] {
  if (isEmpty(set)) return []
  return set === decodeFields(entry.fieldsV1) ? [entry] : [{ ...entry, fieldsV1: encodeFields(set) }]
}

/** Keeps the number of entries bounded whoever writes under ever new names. */
function fold(entries: readonly ManagedFieldsEntry[]): readonly ManagedFieldsEntry[] {
  const updates = entries.filter((entry) => entry.operation === 'Update')
  if (updates.length <= MAX_UPDATE_ENTRIES) return entries
  const oldest = updates
    .toSorted((a, b) => (a.time ?? '').localeCompare(b.time ?? ''))
    .slice(0, updates.length - MAX_UPDATE_ENTRIES + 1)
  const last = oldest.at(-1)
  if (last === undefined) return entries
  const set = oldest.reduce((all, entry) => union(all, decodeFields(entry.fieldsV1)), EMPTY)
  const { subresource: _folded, ...header } = last
  const folded: ManagedFieldsEntry = { ...header, manager: 'ancient-changes', fieldsV1: encodeFields(set) }
  return [folded, ...entries.filter((entry) => !oldest.includes(entry))]
}

export interface Applied {
  readonly object: KubeObject
  readonly entries: readonly ManagedFieldsEntry[]
}

/**
 * Server-side apply of `config` by `writer`. Fields the same writer applied before and no longer mentions are removed
 * unless others own them. `resetFields` are the fields this door does not write. Throws the 409 that names every
 * conflicting owner, unless `force`.
 */
export function applyConfiguration(
  live: KubeObject | undefined,
  config: KubeObject,
  schema: Schema,
  writer: Writer,
  force: boolean,
  resetFields: readonly string[],
): Applied {
  const whole = withMetadataSchema(schema)
  const entries = live?.metadata.managedFields ?? []
  const set = withoutFields(difference(toFieldSet(config, whole), UNOWNED), resetFields)
  const isOwn = (entry: ManagedFieldsEntry) =>
    entry.operation === 'Apply' &&
    entry.manager === writer.manager &&
    (entry.subresource ?? '') === (writer.subresource ?? '')
  const own = entries.find(isOwn)
  const foreign = entries.filter((entry) => entry !== own)

  let object = (live === undefined ? config : mergeApplied(live, config, whole)) as KubeObject
  if (own !== undefined) {
    const owned = foreign.reduce((all, entry) => union(all, decodeFields(entry.fieldsV1)), set)
    const givenUp = difference(decodeFields(own.fieldsV1), owned)
    if (!isEmpty(givenUp)) object = removeGivenUp(object, givenUp, owned, whole) as KubeObject
  }
  for (const name of resetFields) object = restore(object, live, name)
  if (live !== undefined) object = withMetadata(object, { managedFields: live.metadata.managedFields })

  const { changed, removed } = compare(live ?? {}, object, whole)
  const conflicts = foreign
    .map((entry) => ({ entry, fields: intersection(decodeFields(entry.fieldsV1), changed) }))
    .filter(({ fields }) => !isEmpty(fields))
  if (conflicts.length > 0 && !force) throw conflictError(conflicts)
  const taken = union(changed, removed)
  const others = foreign.flatMap((entry) => withSet(entry, difference(decodeFields(entry.fieldsV1), taken)))
  const sameSet =
    own !== undefined &&
    isEmpty(difference(set, decodeFields(own.fieldsV1))) &&
    isEmpty(difference(decodeFields(own.fieldsV1), set))
  const quiet = sameSet && isEmpty(changed) && isEmpty(removed) && own !== undefined
  if (quiet) return { object, entries }
  const entry: ManagedFieldsEntry = {
    manager: writer.manager,
    operation: 'Apply',
    apiVersion: config.apiVersion,
    time: kubeTime(writer.nowMs),
    fieldsType: 'FieldsV1',
    fieldsV1: encodeFields(set),
    ...(writer.subresource === undefined ? {} : { subresource: writer.subresource }),
  }
  return { object, entries: isEmpty(set) ? others : [...others, entry] }
}

function restore(object: KubeObject, live: KubeObject | undefined, name: string): KubeObject {
  if (name === 'metadata') return live === undefined ? object : { ...object, metadata: live.metadata }
  const { [name]: _reset, ...rest } = object
  const before = live?.[name]
  const kept: KubeObject = { apiVersion: object.apiVersion, kind: object.kind, metadata: object.metadata, ...rest }
  return before === undefined ? kept : { ...kept, [name]: before }
}

function conflictError(
  conflicts: readonly { readonly entry: ManagedFieldsEntry; readonly fields: FieldSet }[],
): ApiStatusError {
  const causes = conflicts.flatMap(({ entry, fields }) => {
    const using =
      entry.operation === 'Update'
        ? ` using ${entry.apiVersion}${entry.time === undefined ? '' : ` at ${entry.time}`}`
        : ''
    const through = entry.subresource === undefined ? '' : ` with subresource "${entry.subresource}"`
    const who = `"${entry.manager}"${through}${using}`
    return paths(fields).map((field) => ({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field }))
  })
  const byOwner = Map.groupBy(causes, (cause) => cause.message.replace(/^conflict with /, ''))
  const noun = causes.length === 1 ? 'conflict' : 'conflicts'
  const [only] = causes
  const text =
    causes.length === 1 && only !== undefined
      ? `${only.message}: ${only.field}`
      : [...byOwner]
          .map(([who, list]) => `conflicts with ${who}:\n${list.map((cause) => `- ${cause.field}`).join('\n')}`)
          .join('\n')
  return new ApiStatusError(409, 'Conflict', `Apply failed with ${causes.length} ${noun}: ${text}`, { causes })
}
