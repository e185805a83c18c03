import { forbidden } from '../../http/status.ts'
import type { KubeObject } from '../../objects.ts'
import { at, isObject, listAt, stringAt, withField } from '../../objects.ts'
import type { Kind, LookUp } from '../kind.ts'
import { namespaceKind } from './namespace.ts'

/**
 * What a namespace says of its pods' places, in the words of Kubernetes' admissions PodTolerationRestriction and
 * PodNodeSelector: with a taint of a Node they are how only some namespaces get to it.
 */
const DEFAULTS = 'scheduler.alpha.kubernetes.io/defaultTolerations'
const ALLOWED = 'scheduler.alpha.kubernetes.io/tolerationsWhitelist'
const SELECTOR = 'scheduler.alpha.kubernetes.io/node-selector'

interface Toleration {
  readonly key: string
  readonly operator: string
  readonly value: string
  readonly effect: string
}

/** A new pod with what its namespace adds. Throws Forbidden for what its namespace does not allow. */
export function withNamespace(pod: KubeObject, lookUp: LookUp, podKind: Kind): KubeObject {
  const name = pod.metadata.namespace ?? ''
  const annotations = lookUp.get(namespaceKind.resource, name)?.metadata.annotations ?? {}
  const refuse = (why: string) => forbidden(podKind, pod.metadata.name, why)
  let made = pod
  const defaults = tolerationsIn(annotations, DEFAULTS, refuse)
  if (defaults.length > 0) {
    const own = listAt(pod, 'spec', 'tolerations')
    const has = own.map(read)
    const lacking = defaults.filter((each) => {
      const { key, effect } = read(each)
      return !has.some((one) => one.key === key && one.effect === effect)
    })
    made = withField(made, ['spec', 'tolerations'], [...own, ...lacking])
  }
  if (annotations[ALLOWED] !== undefined) {
    const allowed = tolerationsIn(annotations, ALLOWED, refuse).map(read)
    for (const each of listAt(made, 'spec', 'tolerations').map(read)) {
      // Those of the node's own conditions are everybody's: a DaemonSet has them.
      if (each.key.startsWith('node.kubernetes.io/') || allowed.some((one) => covers(one, each))) continue
      throw refuse(
        `pod tolerations (key "${each.key}") are not allowed in namespace ${name}: its ${ALLOWED} has others`,
      )
    }
  }
  const selector = annotations[SELECTOR]
  return selector === undefined || selector.trim() === '' ? made : selected(made, selector, refuse)
}

const read = (toleration: unknown): Toleration => ({
  key: stringAt(toleration, 'key'),
  operator: stringAt(toleration, 'operator') || 'Equal',
  value: stringAt(toleration, 'value'),
  effect: stringAt(toleration, 'effect'),
})

/** Whether what one tolerates is part of what the other does. */
function covers(wide: Toleration, narrow: Toleration): boolean {
  if (wide.effect !== '' && wide.effect !== narrow.effect) return false
  if (wide.operator === 'Exists') return wide.key === '' || wide.key === narrow.key
  return wide.key === narrow.key && narrow.operator !== 'Exists' && wide.value === narrow.value
}

function tolerationsIn(
  annotations: Readonly<Record<string, string>>,
  name: string,
  refuse: (why: string) => Error,
): readonly object[] {
  const text = annotations[name]
  if (text === undefined || text.trim() === '') return []
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = undefined
  }
  if (Array.isArray(value) && value.every(isObject)) return value
  throw refuse(
    `annotation ${name} of its namespace is no JSON list of tolerations; write [{"key": "k", "operator": "Exists"}]`,
  )
}

function selected(pod: KubeObject, text: string, refuse: (why: string) => Error): KubeObject {
  const given = at(pod, 'spec', 'nodeSelector')
  const wanted: Record<string, unknown> = { ...(isObject(given) ? given : {}) }
  for (const term of text.split(',')) {
    const [key = '', value, more] = term.trim().split('=')
    if (key === '' || value === undefined || more !== undefined)
      throw refuse(
        `annotation ${SELECTOR} of its namespace has ${JSON.stringify(term.trim())}; write key=value, with commas`,
      )
    if (wanted[key] !== undefined && wanted[key] !== value)
      throw refuse(`pod node label selector conflicts with its namespace node label selector: ${key}`)
    wanted[key] = value
  }
  return withField(pod, ['spec', 'nodeSelector'], wanted)
}
