import type { JsonObject } from '../objects.ts'
import type { Catalog } from '../registry/catalog.ts'
import type { Kind, Subresource } from '../registry/kind.ts'
import { groupVersion } from '../registry/kind.ts'
import { negotiate } from './accept.ts'
import type { Exchange } from './exchange.ts'
import { sendJson, sendObject } from './exchange.ts'

/** Answers /api, /apis and what lies below without a resource. Returns false for a group or version nobody serves. */
export function answerDiscovery(exchange: Exchange, catalog: Catalog): boolean {
  const parts = exchange.path.split('/').filter(Boolean)
  const wanted = negotiate(exchange.request.headers.accept, parts.length === 1 ? ['APIGroupDiscoveryList'] : [])
  if (parts.length === 1 && wanted.as === 'APIGroupDiscoveryList') {
    const version = wanted.version ?? 'v2'
    const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
    sendJson(exchange.response, 200, JSON.stringify(aggregated(catalog, parts[0] === 'api', version)), undefined, type)
    return true
  }
  const answer = plainAnswer(parts, exchange, catalog)
  if (answer === undefined) return false
  sendObject(exchange.response, 200, answer, wanted)
  return true
}

function plainAnswer(parts: readonly string[], exchange: Exchange, catalog: Catalog): JsonObject | undefined {
  const [root, first = '', second = ''] = parts
  if (root === 'api') {
    if (parts.length === 1) {
      const serverAddress = exchange.request.headers.host ?? ''
      return {
        kind: 'APIVersions',
        versions: ['v1'],
        serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
      }
    }
    return parts.length === 2 && first === 'v1' ? resourceList(catalog, '', 'v1') : undefined
  }
  if (parts.length === 1) {
    const groups = [...catalog.groups()]
      .filter(([group]) => group !== '')
      .map(([group, versions]) => apiGroup(group, versions))
    return { kind: 'APIGroupList', apiVersion: 'v1', groups }
  }
  const versions = first === '' ? undefined : catalog.groups().get(first)
  if (versions === undefined) return undefined
  if (parts.length === 2) return { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(first, versions) }
  return parts.length === 3 && versions.includes(second) ? resourceList(catalog, first, second) : undefined
}

function apiGroup(group: string, versions: readonly string[]): JsonObject {
  const all = versions.map((version) => ({ groupVersion: groupVersion({ group, version }), version }))
  return { name: group, versions: all, preferredVersion: all[0] }
}

function resourceList(catalog: Catalog, group: string, version: string): JsonObject {
  const resources = catalog.in(group, version).flatMap((kind) => [
    {
      name: kind.plural,
      singularName: kind.singular,
      namespaced: kind.namespaced,
      kind: kind.kind,
      verbs: kind.verbs,
      ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
      ...(kind.categories.length === 0 ? {} : { categories: kind.categories }),
    },
    ...subresources(kind).map((sub) => ({
      name: `${kind.plural}/${sub.name}`,
      singularName: '',
      namespaced: kind.namespaced,
      ...(sub.group === kind.group && sub.version === kind.version ? {} : { group: sub.group, version: sub.version }),
      kind: sub.kind,
      verbs: sub.verbs,
    })),
  ])
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: groupVersion({ group, version }), resources }
}

const READ_AND_WRITE = ['get', 'patch', 'update']

function subresources(kind: Kind): Subresource[] {
  const { group, version, kind: name } = kind
  const status = kind.hasStatus ? [{ name: 'status', group, version, kind: name, verbs: READ_AND_WRITE }] : []
  const scale = { name: 'scale', group: 'autoscaling', version: 'v1', kind: 'Scale', verbs: READ_AND_WRITE }
  return [...(kind.subresources ?? []), ...status, ...(kind.scale === undefined ? [] : [scale])]
}

/** Everything in one answer (apidiscovery.k8s.io), which is what kubectl asks for first. */
function aggregated(catalog: Catalog, core: boolean, version: string): JsonObject {
  const groups = [...catalog.groups()].filter(([group]) => (group === '') === core)
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map(([group, versions]) => ({
      metadata: { name: group === '' ? undefined : group, creationTimestamp: null },
      versions: versions.map((served) => ({
        version: served,
        freshness: 'Current',
        resources: catalog.in(group, served).map((kind) => ({
          resource: kind.plural,
          responseKind: { group, version: served, kind: kind.kind },
          scope: kind.namespaced ? 'Namespaced' : 'Cluster',
          singularResource: kind.singular,
          verbs: kind.verbs,
          shortNames: kind.shortNames,
          categories: kind.categories,
          subresources: subresources(kind).map((sub) => ({
            subresource: sub.name,
            responseKind: { group: sub.group, version: sub.version, kind: sub.kind },
            verbs: sub.verbs,
          })),
        })),
      })),
    })),
  }
}
