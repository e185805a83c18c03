import { protocolNames, type SluiceKind, schemas, validators } from './generated/validators.js'
import { API_VERSION, type Device, type DeviceModel, type Gateway, GROUP } from './resources.ts'
import { isSecretField } from './secrets.ts'
import { didYouMean, shown, suggest } from './suggest.ts'
import { modelFindings } from './validate-model.ts'
import type { ValidatorError } from './validate-runtime.ts'
import { type Complaint, complaintWords, fieldsOfRule, type PlainSchema, ruleOf } from './validate-words.ts'
import type { Finding } from './yaml/findings.ts'

export type SluiceResource = DeviceModel | Device | Gateway

export const SLUICE_KINDS: readonly SluiceKind[] = ['DeviceModel', 'Device', 'Gateway']

/** Names of the protocols whose bindings the validators know; `custom` comes on top. */
export const knownProtocols: readonly string[] = protocolNames

type Path = Finding['path']

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const error = (code: string, path: Path, message: string, hint: string): Finding => ({
  severity: 'error',
  code,
  message,
  hint,
  path,
})

/** What stands at a JSON pointer, and the path to it with list positions as numbers. */
function locate(root: unknown, pointer: string): { value: unknown; path: Path } {
  const path: (string | number)[] = []
  let value = root
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (Array.isArray(value)) {
      path.push(Number(key))
      value = value[Number(key)]
    } else {
      path.push(key)
      value = isMap(value) ? value[key] : undefined
    }
  }
  return { value, path }
}

/** The schema that holds the keyword a schema path such as `#/properties/spec/required` ends in. */
function schemaAt(root: object, pointer: string): PlainSchema {
  let at: unknown = root
  for (const part of pointer.split('/').slice(1, -1)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    at = Array.isArray(at) ? at[Number(key)] : isMap(at) ? at[key] : undefined
  }
  return isMap(at) ? at : {}
}

const samePath = (a: Path, b: Path): boolean => a.length === b.length && a.every((step, index) => step === b[index])

/** Of several complaints about one scalar only the one that helps most is kept: the allowed words say more than the type. */
const RANK = ['enum', 'const', 'type', 'minLength', 'pattern', 'format']

function bestOfScalar(complaints: readonly Complaint[]): Complaint[] {
  const best = new Map<string, Complaint>()
  const rank = (complaint: Complaint) => {
    const at = RANK.indexOf(complaint.error.keyword)
    return at < 0 ? RANK.length : at
  }
  for (const complaint of complaints) {
    const before = best.get(complaint.error.instancePath)
    if (before === undefined || rank(complaint) < rank(before)) best.set(complaint.error.instancePath, complaint)
  }
  return [...best.values()]
}

const ABOUT_FIELDS = new Set(['required', 'additionalProperties', 'x-kubernetes-validations'])

/** A rule is worth telling only where what it speaks of is sound: a typo or a wrong type says it already. */
function ruleStands(complaint: Complaint, others: readonly Complaint[]): boolean {
  const fields = fieldsOfRule(ruleOf(complaint).rule)
  return others.every(({ error: other, path }) => {
    if (!ABOUT_FIELDS.has(other.keyword)) {
      if (samePath(path, complaint.path)) return false
      return !fields.some((field) => samePath(path, [...complaint.path, field]))
    }
    if (other.keyword !== 'additionalProperties' || !samePath(path, complaint.path)) return true
    return suggest(String(other.params['additionalProperty']), fields) === undefined
  })
}

/** A missing field that is there under a mistyped name is one mistake, not two. */
function missingStands(complaint: Complaint, others: readonly Complaint[]): boolean {
  const missing = String(complaint.error.params['missingProperty'])
  return others.every(({ error: other, path, schema }) => {
    if (other.keyword !== 'additionalProperties' || !samePath(path, complaint.path)) return true
    return suggest(String(other.params['additionalProperty']), Object.keys(schema.properties ?? {})) !== missing
  })
}

function toFindings(root: unknown, schema: object, errors: readonly ValidatorError[]): Finding[] {
  const complaints = errors
    // Branches of a union explain nothing; the union itself is among the errors.
    .filter((each) => !/\/(anyOf|oneOf)\/\d+\//.test(each.schemaPath))
    .map(
      (each): Complaint => ({
        error: each,
        schema: schemaAt(schema, each.schemaPath),
        ...locate(root, each.instancePath),
      }),
    )
  const aboutFields = complaints.filter(({ error: { keyword } }) => ABOUT_FIELDS.has(keyword))
  const aboutValues = bestOfScalar(complaints.filter(({ error: { keyword } }) => !ABOUT_FIELDS.has(keyword)))
  const all = [...aboutFields, ...aboutValues].filter((complaint) => {
    if (complaint.error.keyword === 'x-kubernetes-validations') return ruleStands(complaint, complaints)
    return complaint.error.keyword === 'required' ? missingStands(complaint, complaints) : true
  })
  return all.flatMap((complaint) =>
    complaintWords(complaint).map(
      (words): Finding => ({
        severity: 'error',
        path: complaint.path,
        ...(isSecretField(complaint.path.at(-1)) ? withoutValue(words, complaint.value) : words),
      }),
    ),
  )
}

/** The words of a finding about a secret. */
function withoutValue<W extends { readonly message: string; readonly hint: string }>(words: W, value: unknown): W {
  const hide = (text: string) =>
    [shown(value), String(value)].reduce(
      (left, secret) => (secret === '' ? left : left.replaceAll(secret, 'the value')),
      text,
    )
  return { ...words, message: hide(words.message), hint: hide(words.hint) }
}

/** Depth-first order of the document, so that findings read from top to bottom. */
function inOrder(findings: readonly Finding[], root: unknown): Finding[] {
  const rank = (path: Path): number[] => {
    let at = root
    return path.map((step) => {
      const position = typeof step === 'number' ? step : isMap(at) ? Object.keys(at).indexOf(step) : -1
      at = Array.isArray(at) ? at[Number(step)] : isMap(at) ? at[step] : undefined
      return position
    })
  }
  return findings
    .map((finding) => ({ finding, rank: rank(finding.path) }))
    .sort((a, b) => {
      const length = Math.min(a.rank.length, b.rank.length)
      for (let i = 0; i < length; i++) if (a.rank[i] !== b.rank[i]) return a.rank[i]! - b.rank[i]!
      return a.rank.length - b.rank.length
    })
    .map(({ finding }) => finding)
}

/** More are not told: whoever has so many fixes some and asks again. */
const MAX_FINDINGS = 200

const isKind = (kind: unknown): kind is SluiceKind => SLUICE_KINDS.some((known) => known === kind)

/** Whether the object claims to be one of ours, of whatever version and kind. */
export const isOurs = (object: unknown): boolean =>
  isMap(object) && typeof object['apiVersion'] === 'string' && object['apiVersion'].split('/')[0] === GROUP

function headFindings(object: unknown): Finding[] {
  if (!isMap(object)) {
    const hint = 'Start with apiVersion, kind and metadata.'
    return [error('SLUICE_NOT_A_RESOURCE', [], `this is ${shown(object)}, not a resource`, hint)]
  }
  const { apiVersion, kind } = object
  const missing = ['apiVersion', 'kind'].filter((field) => object[field] === undefined)
  if (missing.length > 0) {
    const known = Object.keys(object)
    return missing.map((field) => {
      const value = field === 'kind' ? `one of ${SLUICE_KINDS.join(', ')}` : API_VERSION
      const typo = suggest(field, known)
      const hint = typo === undefined ? `Add '${field}': ${value}.` : `Is '${typo}' meant to be '${field}'?`
      return error('SLUICE_MISSING_FIELD', [field], `the field '${field}' is missing`, hint)
    })
  }
  if (apiVersion !== API_VERSION) {
    const message = `apiVersion ${shown(apiVersion)} is not known`
    return [error('SLUICE_UNKNOWN_VERSION', ['apiVersion'], message, `Write ${API_VERSION}.`)]
  }
  if (!isKind(kind)) {
    const hint = didYouMean(String(kind), SLUICE_KINDS, 'Choose one of')
    return [error('SLUICE_UNKNOWN_KIND', ['kind'], `kind ${shown(kind)} is not known`, hint)]
  }
  return []
}

/**
 * Everything that is wrong with one DeviceModel, Device or Gateway on its own; empty means sound. All findings are
 * told at once (200 at most), in the order of the document. What takes other objects to know is in `validateSet`.
 */
export function validateResource(object: unknown): Finding[] {
  const head = headFindings(object)
  if (head.length > 0 || !isMap(object) || !isKind(object['kind'])) return head
  const validate = validators[object['kind']]
  const sound = validate(object)
  const findings = sound
    ? []
    : toFindings(object, schemas[object['kind']], (validate.errors ?? []).slice(0, MAX_FINDINGS))
  if (object['kind'] === 'DeviceModel') findings.push(...modelFindings(object['spec']))
  return inOrder(findings, object)
}

/** The object typed, or undefined when `validateResource` finds an error in it. */
export function asResource(object: unknown): SluiceResource | undefined {
  return validateResource(object).some(({ severity }) => severity === 'error') ? undefined : (object as SluiceResource)
}
