import type { IncomingMessage } from 'node:http'
import type { JsonObject, KubeObject } from '../objects.ts'
import { at, isObject, listAt, stringAt } from '../objects.ts'
import type { Kind } from '../registry/kind.ts'
import { groupVersion } from '../registry/kind.ts'
import { nodeKind } from '../registry/kinds/node.ts'
import { podKind } from '../registry/kinds/pod.ts'
import type { Registry } from '../registry/registry.ts'
import { labelMatcher } from '../registry/selectors.ts'
import { type Exchange, sendObject } from './exchange.ts'
import type { NodeProxy } from './node-proxy.ts'
import type { ResourcePath } from './path.ts'
import { notFound } from './status.ts'

/** Nodes asked at a time. */
const PARALLEL = 16
const MAX_ANSWER_BYTES = 8 * 1024 * 1024
/** Between two readings of a gateway; what its rates are averages over, at least. */
const WINDOW = '10s'

/** Answers metrics.k8s.io from what the nodes measure. A node that does not answer is left out. */
export async function answerMetrics(
  exchange: Exchange,
  registry: Registry,
  nodes: NodeProxy,
  kind: Kind,
  path: ResourcePath,
): Promise<void> {
  const matches = labelMatcher(exchange.query.get('labelSelector') ?? '')
  const selected = (object: KubeObject | undefined): object is KubeObject =>
    object !== undefined && (matches?.(object) ?? true)
  const summaries = await readSummaries(exchange, registry, nodes, kind, path)
  const items = summaries.flatMap((summary) =>
    kind.kind === 'NodeMetrics'
      ? nodeItem(registry, kind, summary, selected)
      : podItems(registry, kind, summary, path, selected),
  )
  const apiVersion = groupVersion(kind)
  if (path.name === undefined) {
    sendObject(exchange.response, 200, { kind: kind.listKind, apiVersion, metadata: {}, items })
    return
  }
  const [item] = items
  if (item === undefined) throw notFound(kind, path.name)
  sendObject(exchange.response, 200, item)
}

async function readSummaries(
  exchange: Exchange,
  registry: Registry,
  nodes: NodeProxy,
  kind: Kind,
  path: ResourcePath,
): Promise<JsonObject[]> {
  const waiting = namesOfNodes(registry, kind, path)
  const found: JsonObject[] = []
  const ask = async () => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      try {
        const answer = await nodes.get(
          nodes.node(name),
          `/gateways/${encodeURIComponent(name)}/stats/summary`,
          exchange.response,
        )
        const summary: unknown = JSON.parse(await readText(answer))
        if (isObject(summary)) found.push(summary)
      } catch {
        // A node that is away has no metrics: the others do.
      }
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, ask))
  return found
}

function namesOfNodes(registry: Registry, kind: Kind, { name, namespace = '' }: ResourcePath): string[] {
  if (name !== undefined && kind.kind === 'NodeMetrics') return [name]
  if (name !== undefined) {
    const pod = registry.find({ kind: podKind, namespace, name, subresource: undefined })?.object
    const node = stringAt(pod, 'spec', 'nodeName')
    return node === '' ? [] : [node]
  }
  return [...registry.store.all(nodeKind.resource)].map(({ key }) => key.name)
}

async function readText(answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk
    if (text.length > MAX_ANSWER_BYTES) throw new Error('too long')
  }
  return text
}

type Selected = (object: KubeObject | undefined) => object is KubeObject

function nodeItem(registry: Registry, kind: Kind, summary: JsonObject, selected: Selected): JsonObject[] {
  const name = stringAt(summary, 'node', 'nodeName')
  const node = registry.find({ kind: nodeKind, namespace: '', name, subresource: undefined })?.object
  const usage = usageOf(at(summary, 'node'))
  if (!selected(node) || usage === undefined) return []
  return [{ ...head(kind, node, at(summary, 'node')), usage }]
}

function podItems(
  registry: Registry,
  kind: Kind,
  summary: JsonObject,
  path: ResourcePath,
  selected: Selected,
): JsonObject[] {
  return listAt(summary, 'pods').flatMap((entry) => {
    const name = stringAt(entry, 'podRef', 'name')
    const namespace = stringAt(entry, 'podRef', 'namespace')
    if (path.namespace !== undefined && path.namespace !== namespace) return []
    if (path.name !== undefined && path.name !== name) return []
    const pod = registry.find({ kind: podKind, namespace, name, subresource: undefined })?.object
    if (!selected(pod) || pod.metadata.uid !== stringAt(entry, 'podRef', 'uid')) return []
    const containers = listAt(entry, 'containers').flatMap((each) => {
      const usage = usageOf(each)
      return usage === undefined ? [] : [{ name: stringAt(each, 'name'), usage }]
    })
    return containers.length === 0 ? [] : [{ ...head(kind, pod, entry), containers }]
  })
}

function head(kind: Kind, { metadata }: KubeObject, measured: unknown): JsonObject {
  const { name, namespace, labels, creationTimestamp } = metadata
  return {
    kind: kind.kind,
    apiVersion: groupVersion(kind),
    metadata: {
      ...{ name, creationTimestamp },
      ...(namespace === undefined ? {} : { namespace }),
      ...(labels === undefined ? {} : { labels }),
    },
    timestamp: stringAt(measured, 'cpu', 'time').replace(/\.\d+Z$/, 'Z'),
    window: WINDOW,
  }
}

/** As quantities; undefined while there is no rate yet. */
function usageOf(measured: unknown): JsonObject | undefined {
  const nanoCores = at(measured, 'cpu', 'usageNanoCores')
  const bytes = at(measured, 'memory', 'workingSetBytes')
  if (typeof nanoCores !== 'number' || typeof bytes !== 'number') return undefined
  return { cpu: `${nanoCores}n`, memory: `${Math.round(bytes / 1024)}Ki` }
}
