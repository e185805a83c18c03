import type { StatusCause } from '../../http/status.ts'
import type { KubeObject } from '../../objects.ts'
import { at, deepEqual, isObject, listAt, stringAt } from '../../objects.ts'
import { containerProblems } from './pod.ts'
import { podSpec } from './pod-schema.ts'
import { conditions, fields, integer, intOrString, list, mapOf, text, withDefault } from './schema-words.ts'

/** Words that the kinds which make pods share. */

export const labelSelector = {
  ...fields({
    matchLabels: mapOf(text),
    matchExpressions: list(fields({ key: text, operator: text, values: list(text) }, ['key', 'operator'])),
  }),
  'x-kubernetes-map-type': 'atomic',
} as const

export const podTemplate = fields({
  metadata: fields({
    name: text,
    labels: mapOf(text),
    annotations: mapOf(text),
    // Written by nobody, but sent by clients that serialise every field.
    creationTimestamp: { type: 'string', nullable: true },
    generation: integer,
    resourceVersion: text,
    uid: text,
    namespace: text,
    generateName: text,
    finalizers: list(text),
  }),
  spec: podSpec,
})

export const rollingUpdate = (maxUnavailable: unknown, maxSurge: unknown) =>
  fields({ maxUnavailable: withDefault(intOrString, maxUnavailable), maxSurge: withDefault(intOrString, maxSurge) })

export const workloadConditions = conditions('lastUpdateTime', 'lastTransitionTime', 'lastProbeTime')

/** What is wrong with the template and the selector, which has to select the template and may never change. */
export function templateProblems(object: KubeObject, old: KubeObject | undefined): StatusCause[] {
  const causes = containerProblems(object, 'spec.template.spec')
  const selector = at(object, 'spec', 'selector')
  const labels = at(object, 'spec', 'template', 'metadata', 'labels')
  if (!selects(selector, isObject(labels) ? labels : {})) {
    const message = `Invalid value: ${JSON.stringify(labels ?? {})}: \`selector\` does not match template \`labels\``
    causes.push({ reason: 'FieldValueInvalid', message, field: 'spec.template.metadata.labels' })
  }
  if (old !== undefined && !deepEqual(at(old, 'spec', 'selector'), selector)) {
    const message = `Invalid value: ${JSON.stringify(selector)}: field is immutable`
    causes.push({ reason: 'FieldValueInvalid', message, field: 'spec.selector' })
  }
  return causes
}

/** Whether a metav1.LabelSelector selects labels. An empty one selects everything, a missing one nothing. */
export function selects(selector: unknown, labels: Readonly<Record<string, unknown>>): boolean {
  if (!isObject(selector)) return false
  const equal = at(selector, 'matchLabels')
  if (isObject(equal) && Object.entries(equal).some(([key, value]) => labels[key] !== value)) return false
  return listAt(selector, 'matchExpressions').every((each) => {
    const value = labels[stringAt(each, 'key')]
    const values = listAt(each, 'values')
    switch (stringAt(each, 'operator')) {
      case 'In':
        return value !== undefined && values.includes(value)
      case 'NotIn':
        return value === undefined || !values.includes(value)
      case 'Exists':
        return value !== undefined
      case 'DoesNotExist':
        return value === undefined
      default:
        return false
    }
  })
}

/** A label selector as one writes it behind `kubectl get -l`. */
export function selectorText(selector: unknown): string {
  const equal = at(selector, 'matchLabels')
  const terms = isObject(equal) ? Object.entries(equal).map(([key, value]) => `${key}=${String(value)}`) : []
  for (const each of listAt(selector, 'matchExpressions')) {
    const key = stringAt(each, 'key')
    const values = `(${listAt(each, 'values').join(',')})`
    const operator = stringAt(each, 'operator')
    if (operator === 'In') terms.push(`${key} in ${values}`)
    else if (operator === 'NotIn') terms.push(`${key} notin ${values}`)
    else terms.push(operator === 'Exists' ? key : `!${key}`)
  }
  return terms.sort().join(',')
}
