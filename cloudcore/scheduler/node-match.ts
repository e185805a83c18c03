/** What a pod says about nodes, as everybody's pods say it: selectors, affinity to nodes, tolerations. Pure. */

export interface Toleration {
  readonly key?: string
  readonly operator?: string
  readonly value?: string
  readonly effect?: string
  readonly tolerationSeconds?: number
}

export interface NodeTaint {
  readonly key: string
  readonly value?: string
  readonly effect: string
  readonly timeAdded?: string
}

export interface MatchExpression {
  readonly key: string
  readonly operator: string
  readonly values?: readonly string[]
}

export interface NodeTerm {
  readonly matchExpressions?: readonly MatchExpression[]
  readonly matchFields?: readonly MatchExpression[]
}

export interface NodeWish {
  readonly nodeSelector?: Readonly<Record<string, string>>
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: { readonly nodeSelectorTerms?: readonly NodeTerm[] }
    readonly preferredDuringSchedulingIgnoredDuringExecution?: readonly {
      readonly weight?: number
      readonly preference?: NodeTerm
    }[]
  }
}

type Labels = Readonly<Record<string, string>>

export function expressionHolds({ key, operator, values = [] }: MatchExpression, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'Gt':
    case 'Lt': {
      const [held, bound] = [Number(value), Number(values[0])]
      if (value === undefined || !Number.isInteger(held) || !Number.isInteger(bound)) return false
      return operator === 'Gt' ? held > bound : held < bound
    }
    default:
      return false
  }
}

/** A term with neither expressions nor fields selects nothing. */
export function termHolds(
  { matchExpressions = [], matchFields = [] }: NodeTerm,
  name: string,
  labels: Labels,
): boolean {
  if (matchExpressions.length + matchFields.length === 0) return false
  return (
    matchExpressions.every((each) => expressionHolds(each, labels)) &&
    matchFields.every((each) => expressionHolds(each, { 'metadata.name': name }))
  )
}

export function wantsNode({ nodeSelector = {}, nodeAffinity }: NodeWish, name: string, labels: Labels): boolean {
  if (Object.entries(nodeSelector).some(([key, value]) => labels[key] !== value)) return false
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  if (required === undefined) return true
  return (required.nodeSelectorTerms ?? []).some((term) => termHolds(term, name, labels))
}

/** Sum of the weights of the preferences that a node meets. */
export function preferenceWeight({ nodeAffinity }: NodeWish, name: string, labels: Labels): number {
  const preferred = nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []
  return preferred.reduce(
    (sum, { weight = 1, preference }) =>
      sum + (preference !== undefined && termHolds(preference, name, labels) ? weight : 0),
    0,
  )
}

export function tolerates(tolerations: readonly Toleration[], taint: NodeTaint): boolean {
  return tolerations.some((each) => toleration(each, taint))
}

function toleration({ key = '', operator = 'Equal', value = '', effect = '' }: Toleration, taint: NodeTaint): boolean {
  if (effect !== '' && effect !== taint.effect) return false
  if (key !== '' && key !== taint.key) return false
  if (operator === 'Exists') return true
  return key !== '' && operator === 'Equal' && value === (taint.value ?? '')
}

/** How long a pod stays under taints, in seconds: 0 not at all, undefined for ever. */
export function toleratedSeconds(tolerations: readonly Toleration[], taint: NodeTaint): number | undefined {
  let least: number | undefined
  let any = false
  for (const each of tolerations) {
    if (!toleration(each, taint)) continue
    any = true
    if (each.tolerationSeconds !== undefined)
      least = Math.min(least ?? Number.POSITIVE_INFINITY, each.tolerationSeconds)
  }
  return any ? (least === undefined ? undefined : Math.max(0, least)) : 0
}
