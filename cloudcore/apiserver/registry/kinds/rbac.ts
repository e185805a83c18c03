import type { StatusCause } from '../../http/status.ts'
import { at, isObject, type KubeObject, listAt, stringAt } from '../../objects.ts'
import { ageColumn, nameColumn } from '../columns.ts'
import { builtin, type Column, type Kind } from '../kind.ts'
import { fields, list, objectSchema, text } from './schema-words.ts'

/** Roles and bindings as `rbac.authorization.k8s.io/v1` has them, without aggregation. access/rbac.ts gives them their meaning. */
export const RBAC_GROUP = 'rbac.authorization.k8s.io'

const rule = fields(
  {
    verbs: list(text),
    apiGroups: list(text),
    resources: list(text),
    resourceNames: list(text),
    nonResourceURLs: list(text),
  },
  ['verbs'],
)
const subject = fields({ kind: text, apiGroup: text, name: text, namespace: text }, ['kind', 'name'])
const roleRef = fields({ apiGroup: text, kind: text, name: text }, ['apiGroup', 'kind', 'name'])

const createdColumn: Column = {
  name: 'Created At',
  type: 'date',
  description: 'When the role was made.',
  cell: ({ metadata }) => metadata.creationTimestamp,
}
const roleColumn: Column = {
  name: 'Role',
  type: 'string',
  description: 'The role that is bound.',
  cell: (object) => `${stringAt(object, 'roleRef', 'kind')}/${stringAt(object, 'roleRef', 'name')}`,
}

/** RBAC names are path segments: `system:node` is one. */
const nameProblem = (name: string): string | undefined =>
  name === '.' || name === '..' || /[/%]/.test(name) ? 'may not contain "/" or "%", nor be "." or ".."' : undefined

const roleKind = (kind: 'Role' | 'ClusterRole'): Kind =>
  builtin({
    group: RBAC_GROUP,
    version: 'v1',
    kind,
    plural: `${kind.toLowerCase()}s`,
    namespaced: kind === 'Role',
    columns: [nameColumn, createdColumn],
    schema: objectSchema(`${kind} is a set of rules that say what may be done.`, { rules: list(rule) }),
    nameProblem,
    validate: (object) => rulesCauses(object, kind === 'ClusterRole'),
  })

const bindingKind = (kind: 'RoleBinding' | 'ClusterRoleBinding'): Kind =>
  builtin({
    group: RBAC_GROUP,
    version: 'v1',
    kind,
    plural: `${kind.toLowerCase()}s`,
    namespaced: kind === 'RoleBinding',
    columns: [nameColumn, roleColumn, ageColumn],
    schema: objectSchema(`${kind} gives a role to users, groups and service accounts.`, {
      subjects: list(subject),
      roleRef,
    }),
    nameProblem,
    prepare: withGroups,
    validate: (object, old) => bindingCauses(object, old, kind === 'ClusterRoleBinding'),
  })

export const clusterRoleKind = roleKind('ClusterRole')
export const namespacedRoleKind = roleKind('Role')
export const clusterRoleBindingKind = bindingKind('ClusterRoleBinding')
export const roleBindingKind = bindingKind('RoleBinding')
export const rbacKinds: readonly Kind[] = [clusterRoleKind, namespacedRoleKind, clusterRoleBindingKind, roleBindingKind]

/** Users and groups are of the RBAC group, service accounts of none, where nobody said it. */
function withGroups(object: KubeObject): KubeObject {
  const subjects = listAt(object, 'subjects').map((each) =>
    isObject(each) && at(each, 'apiGroup') === undefined && stringAt(each, 'kind') !== 'ServiceAccount'
      ? { ...each, apiGroup: RBAC_GROUP }
      : each,
  )
  return subjects.length === 0 ? object : { ...object, subjects }
}

function rulesCauses(object: KubeObject, clusterWide: boolean): StatusCause[] {
  return listAt(object, 'rules').flatMap((each, index): StatusCause[] => {
    const has = (name: string) => isObject(each) && listAt(each, name).length > 0
    const field = `rules[${index}]`
    if (!has('verbs')) return [required(`${field}.verbs`, 'verbs must contain at least one value')]
    if (has('nonResourceURLs')) {
      if (!clusterWide)
        return [invalid(`${field}.nonResourceURLs`, 'namespaced rules cannot apply to non-resource URLs')]
      const mixed = has('apiGroups') || has('resources') || has('resourceNames')
      return mixed ? [invalid(field, 'rules cannot apply to both regular resources and non-resource URLs')] : []
    }
    if (!has('apiGroups')) return [required(`${field}.apiGroups`, 'resource rules must supply at least one api group')]
    if (!has('resources')) return [required(`${field}.resources`, 'resource rules must supply at least one resource')]
    return []
  })
}

function bindingCauses(object: KubeObject, old: KubeObject | undefined, clusterWide: boolean): StatusCause[] {
  const causes: StatusCause[] = []
  const bound = stringAt(object, 'roleRef', 'kind')
  const kinds = clusterWide ? ['ClusterRole'] : ['Role', 'ClusterRole']
  if (!kinds.includes(bound)) causes.push(unsupported('roleRef.kind', bound, kinds))
  const group = stringAt(object, 'roleRef', 'apiGroup')
  if (group !== RBAC_GROUP) causes.push(unsupported('roleRef.apiGroup', group, [RBAC_GROUP]))
  if (old !== undefined && JSON.stringify(old['roleRef']) !== JSON.stringify(object['roleRef']))
    causes.push(invalid('roleRef', 'cannot change roleRef'))
  for (const [index, each] of listAt(object, 'subjects').entries()) {
    const kind = isObject(each) ? stringAt(each, 'kind') : ''
    if (!['User', 'Group', 'ServiceAccount'].includes(kind))
      causes.push(unsupported(`subjects[${index}].kind`, kind, ['ServiceAccount', 'User', 'Group']))
    if (kind === 'ServiceAccount' && isObject(each) && stringAt(each, 'namespace') === '' && clusterWide)
      causes.push(required(`subjects[${index}].namespace`, ''))
  }
  return causes
}

const required = (field: string, message: string): StatusCause => ({
  reason: 'FieldValueRequired',
  message: message === '' ? 'Required value' : `Required value: ${message}`,
  field,
})
const invalid = (field: string, message: string): StatusCause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${message}`,
  field,
})
const unsupported = (field: string, value: string, values: readonly string[]): StatusCause => ({
  reason: 'FieldValueNotSupported',
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${values.map((each) => JSON.stringify(each)).join(', ')}`,
  field,
})
