import type { KubeObject } from '../../objects.ts'
import { at, isObject, listAt, stringAt, withField } from '../../objects.ts'
import { ageColumn, nameColumn, textColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import {
  anything,
  conditions,
  fields,
  flag,
  integer,
  list,
  listBy,
  mapOf,
  objectSchema,
  quantity,
  text,
  time,
  withDefault,
} from './schema-words.ts'

const taint = fields({ key: text, value: text, effect: text, timeAdded: time }, ['key', 'effect'])
const INFO =
  'machineID systemUUID bootID kernelVersion osImage containerRuntimeVersion kubeletVersion kubeProxyVersion operatingSystem architecture'

const nodeInfo = withDefault(
  fields(Object.fromEntries(INFO.split(' ').map((name) => [name, withDefault(text, '')]))),
  {},
)
const endpoint = withDefault(fields({ Port: withDefault(integer, 0) }), {})

export const nodeKind = builtin({
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  shortNames: ['no'],
  namespaced: false,
  hasStatus: true,
  schema: objectSchema('Node is a machine that pods can run on.', {
    spec: withDefault(
      fields({
        podCIDR: text,
        podCIDRs: list(text),
        providerID: text,
        unschedulable: flag,
        taints: list(taint),
        configSource: anything,
        externalID: text,
      }),
      {},
    ),
    status: withDefault(
      fields({
        capacity: mapOf(quantity),
        allocatable: mapOf(quantity),
        phase: text,
        conditions: conditions('lastHeartbeatTime', 'lastTransitionTime'),
        addresses: listBy(['type'], fields({ type: text, address: text }, ['type', 'address'])),
        daemonEndpoints: withDefault(fields({ kubeletEndpoint: endpoint }), {}),
        nodeInfo,
        images: list(fields({ names: list(text), sizeBytes: integer })),
        volumesInUse: list(text),
        volumesAttached: anything,
        config: anything,
        runtimeHandlers: anything,
        features: anything,
      }),
      {},
    ),
  }),
  columns: [
    nameColumn,
    { name: 'Status', type: 'string', description: 'The status of the node', cell: nodeStatus },
    { name: 'Roles', type: 'string', description: 'The roles of the node', cell: nodeRoles },
    ageColumn,
    textColumn('Version', 'Kubelet Version reported by the node.', ['status', 'nodeInfo', 'kubeletVersion']),
    {
      name: 'Internal-IP',
      type: 'string',
      description: 'Addresses the node is reached at inside its network.',
      priority: 1,
      cell: (node) => address(node, 'InternalIP'),
    },
    {
      name: 'External-IP',
      type: 'string',
      description: 'Addresses the node is reached at from outside its network.',
      priority: 1,
      cell: (node) => address(node, 'ExternalIP'),
    },
    textColumn(
      'OS-Image',
      'The operating system as the node reports it in its node information.',
      ['status', 'nodeInfo', 'osImage'],
      '<unknown>',
      1,
    ),
    textColumn(
      'Kernel-Version',
      'The kernel version as the node reports it in its node information.',
      ['status', 'nodeInfo', 'kernelVersion'],
      '<unknown>',
      1,
    ),
    textColumn(
      'Container-Runtime',
      'The container runtime as the node reports it in its node information.',
      ['status', 'nodeInfo', 'containerRuntimeVersion'],
      '<unknown>',
      1,
    ),
  ],
  selectable: { 'spec.unschedulable': (object) => String(at(object, 'spec', 'unschedulable') ?? false) },
  prepare(object, old) {
    // A node takes work only after it has said that it is ready (the TaintNodesByCondition admission).
    if (old === undefined && at(object, 'spec', 'taints') === undefined) {
      return withField(object, ['spec', 'taints'], [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }])
    }
    const capacity = at(object, 'status', 'capacity')
    // A node that does not say what it keeps for itself offers everything.
    return capacity !== undefined && at(object, 'status', 'allocatable') === undefined
      ? withField(object, ['status', 'allocatable'], capacity)
      : object
  },
})

function nodeStatus(node: KubeObject): string {
  const ready = listAt(node, 'status', 'conditions').find((condition) => stringAt(condition, 'type') === 'Ready')
  const state = ready === undefined ? 'Unknown' : stringAt(ready, 'status') === 'True' ? 'Ready' : 'NotReady'
  return at(node, 'spec', 'unschedulable') === true ? `${state},SchedulingDisabled` : state
}

function nodeRoles(node: KubeObject): string {
  const prefix = 'node-role.kubernetes.io/'
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([label, value]) => {
    if (label.startsWith(prefix)) return label.length > prefix.length ? [label.slice(prefix.length)] : []
    return label === 'kubernetes.io/role' && value !== '' ? [value] : []
  })
  return roles.length === 0 ? '<none>' : roles.sort().join(',')
}

function address(node: KubeObject, type: string): string {
  const found = listAt(node, 'status', 'addresses').find((item) => isObject(item) && item['type'] === type)
  return stringAt(found, 'address') || '<none>'
}
