import { isObject, type KubeObject, listAt, stringAt } from '../objects.ts'
import type { Caller } from '../registry/kind.ts'
import {
  clusterRoleBindingKind,
  clusterRoleKind,
  namespacedRoleKind,
  RBAC_GROUP,
  rbacKinds,
  roleBindingKind,
} from '../registry/kinds/rbac.ts'
import type { Revision } from '../storage/revision.ts'
import type { Authorize, Target } from './authorize.ts'

/** What the authorizer reads: all objects of a stored resource. */
export interface RbacSource {
  all(resource: string): Iterable<{
    readonly key: { readonly namespace: string; readonly name: string }
    readonly stored: { readonly object: KubeObject }
  }>
}

interface Rule {
  readonly verbs: readonly string[]
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames: readonly string[]
  readonly nonResourceURLs: readonly string[]
}

interface Grant {
  /** Undefined: everywhere. */
  readonly namespace: string | undefined
  readonly rules: readonly Rule[]
}

const READING = new Set(['get', 'list', 'watch'])
const RBAC_RESOURCES = new Set(rbacKinds.map(({ resource }) => resource))

/**
 * Role based access control over the roles and bindings that are stored. Compiled once and again after each change of
 * them. Nobody can hand on more than they have: a role never gives the right to write roles and bindings, that stays with
 * administrators. Kubernetes' finer rule (verbs `escalate` and `bind`) is not here.
 */
export class Rbac {
  #source: RbacSource | undefined
  #grants: ReadonlyMap<string, readonly Grant[]> | undefined

  open(source: RbacSource): void {
    this.#source = source
    this.#grants = undefined
  }

  onCommit(revisions: readonly Revision[]): void {
    if (revisions.some(({ key }) => RBAC_RESOURCES.has(key.resource))) this.#grants = undefined
  }

  readonly authorize: Authorize = (caller, verb, target) => {
    if ('group' in target && target.group === RBAC_GROUP && !READING.has(verb)) return false
    return this.#of(caller).some(
      ({ namespace, rules }) =>
        (namespace === undefined || ('namespace' in target && target.namespace === namespace)) &&
        rules.some((rule) => allows(rule, verb, target)),
    )
  };

  *#subjects({ user, groups }: Caller): Iterable<string> {
    yield `User ${user}`
    for (const group of groups) yield `Group ${group}`
  }

  #of(caller: Caller): readonly Grant[] {
    this.#grants ??= this.#compile()
    const found: Grant[] = []
    for (const subject of this.#subjects(caller)) found.push(...(this.#grants.get(subject) ?? []))
    return found
  }

  #compile(): ReadonlyMap<string, readonly Grant[]> {
    const grants = new Map<string, Grant[]>()
    if (this.#source === undefined) return grants
    const rules = new Map<string, readonly Rule[]>()
    for (const {
      key,
      stored: { object },
    } of this.#source.all(clusterRoleKind.resource))
      rules.set(`/${key.name}`, rulesOf(object))
    for (const {
      key,
      stored: { object },
    } of this.#source.all(namespacedRoleKind.resource))
      rules.set(`${key.namespace}/${key.name}`, rulesOf(object))
    for (const { resource } of [clusterRoleBindingKind, roleBindingKind]) {
      for (const {
        key,
        stored: { object },
      } of this.#source.all(resource)) {
        const space = stringAt(object, 'roleRef', 'kind') === 'Role' ? key.namespace : ''
        const held = rules.get(`${space}/${stringAt(object, 'roleRef', 'name')}`)
        if (held === undefined) continue
        const grant = { namespace: resource === roleBindingKind.resource ? key.namespace : undefined, rules: held }
        for (const subject of subjectsOf(object, key.namespace)) {
          const list = grants.get(subject)
          if (list === undefined) grants.set(subject, [grant])
          else list.push(grant)
        }
      }
    }
    return grants
  }
}

function* subjectsOf(binding: KubeObject, bindingNamespace: string): Iterable<string> {
  for (const subject of listAt(binding, 'subjects')) {
    if (!isObject(subject)) continue
    const kind = stringAt(subject, 'kind')
    const name = stringAt(subject, 'name')
    if (kind !== 'ServiceAccount') yield `${kind} ${name}`
    else yield `User system:serviceaccount:${stringAt(subject, 'namespace') || bindingNamespace}:${name}`
  }
}

const words = (object: Readonly<Record<string, unknown>>, field: string): readonly string[] =>
  listAt(object, field).filter((word) => typeof word === 'string')

const rulesOf = (role: KubeObject): readonly Rule[] =>
  listAt(role, 'rules')
    .filter(isObject)
    .map((rule) => ({
      verbs: words(rule, 'verbs'),
      apiGroups: words(rule, 'apiGroups'),
      resources: words(rule, 'resources'),
      resourceNames: words(rule, 'resourceNames'),
      nonResourceURLs: words(rule, 'nonResourceURLs'),
    }))

const has = (list: readonly string[], word: string): boolean => list.includes('*') || list.includes(word)

function allows(rule: Rule, verb: string, target: Target): boolean {
  if (!has(rule.verbs, verb)) return false
  if ('path' in target) return rule.nonResourceURLs.some((url) => pathMatches(url, target.path))
  const resource = target.subresource === '' ? target.resource : `${target.resource}/${target.subresource}`
  return (
    has(rule.apiGroups, target.group) &&
    (has(rule.resources, resource) ||
      (target.subresource !== '' && rule.resources.includes(`*/${target.subresource}`))) &&
    (rule.resourceNames.length === 0 || rule.resourceNames.includes(target.name))
  )
}

const pathMatches = (url: string, path: string): boolean =>
  url === '*' || url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1)))
