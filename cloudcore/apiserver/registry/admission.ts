import { hasRules, validateRules } from '../crd/cel.ts'
import { applyDefaults, prune } from '../crd/prune.ts'
import { blocksRules, RULES_NOT_CHECKED, validateSchema } from '../crd/validate.ts'
import type { StatusCause } from '../http/status.ts'
import { badRequest, invalid } from '../http/status.ts'
import type { KubeObject } from '../objects.ts'
import type { Kind } from './kind.ts'
import { metadataProblems } from './metadata.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/** How a write was asked for. */
export interface WriteOptions {
  readonly manager: string
  readonly dryRun: boolean
  readonly fieldValidation: FieldValidation
  /** Take fields over from other appliers. */
  readonly force: boolean
  /** Texts for Warning headers. */
  readonly warnings: string[]
}

/** Drops unknown fields, says so as asked for, and fills in defaults. */
export function normalise(
  object: KubeObject,
  old: KubeObject | undefined,
  kind: Kind,
  options: WriteOptions,
  unknown: string[] = [],
): KubeObject {
  const pruned = prune(object, kind.schema, unknown, '', true)
  reportUnknown(unknown, kind, options)
  const filled = applyDefaults(pruned, kind.schema)
  return kind.prepare?.(filled, old) ?? filled
}

export function reportUnknown(unknown: readonly string[], kind: Kind, options: WriteOptions): void {
  if (unknown.length === 0 || options.fieldValidation === 'Ignore') return
  const texts = unknown.map((field) => `unknown field ${JSON.stringify(field)}`)
  if (options.fieldValidation === 'Warn') {
    options.warnings.push(...texts)
    return
  }
  throw badRequest(
    `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: strict decoding error: ${texts.join(', ')}`,
  )
}

/** Throws 422 (or 400 for a built-in kind of the wrong shape) when an object may not be stored as it is. */
export function validate(object: KubeObject, old: KubeObject | undefined, kind: Kind): void {
  const shape = validateSchema(object, old, kind.schema, '')
  if (!kind.custom) {
    const wrong = shape.find(
      (cause) => cause.reason === 'FieldValueTypeInvalid' || cause.message.includes('in body must be of type'),
    )
    if (wrong !== undefined) {
      throw badRequest(
        `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: ${wrong.field}: ${wrong.message}`,
      )
    }
  }
  const causes: StatusCause[] = [...metadataProblems(object, kind, old), ...shape]
  if (hasRules(kind.schema)) {
    if (blocksRules(causes)) causes.push(RULES_NOT_CHECKED)
    else causes.push(...validateRules(object, old, kind.schema, ''))
  }
  causes.push(...(kind.validate?.(object, old) ?? []))
  if (causes.length > 0) throw invalid(kind, object.metadata.name, causes)
}
