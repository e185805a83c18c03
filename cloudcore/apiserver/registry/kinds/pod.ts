import type { StatusCause } from '../../http/status.ts'
import type { JsonObject, KubeObject } from '../../objects.ts'
import { at, deepEqual, isObject, listAt, stringAt, withField } from '../../objects.ts'
import { age, ageColumn, nameColumn, textColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import { dnsLabelProblem } from '../names.ts'
import { withNamespace } from './namespace-pods.ts'
import { bornWithEphemeral } from './pod-ephemeral.ts'
import { podSchema } from './pod-schema.ts'
import { withPriority } from './priority-class.ts'

const TOLERATED_SECONDS = 300

/** A pod as data: stored, defaulted and checked, never run by this server. */
export const podKind = builtin({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  shortNames: ['po'],
  categories: ['all'],
  namespaced: true,
  hasStatus: true,
  schema: podSchema,
  subresources: [
    { name: 'binding', group: '', version: 'v1', kind: 'Binding', verbs: ['create'] },
    { name: 'eviction', group: 'policy', version: 'v1', kind: 'Eviction', verbs: ['create'] },
    { name: 'log', group: '', version: 'v1', kind: 'Pod', verbs: ['get'] },
    { name: 'exec', group: '', version: 'v1', kind: 'PodExecOptions', verbs: ['create', 'get'] },
    { name: 'attach', group: '', version: 'v1', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
    { name: 'portforward', group: '', version: 'v1', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
    { name: 'ephemeralcontainers', group: '', version: 'v1', kind: 'Pod', verbs: ['get', 'patch', 'update'] },
  ],
  columns: [
    nameColumn,
    {
      name: 'Ready',
      type: 'string',
      description: 'How many of the containers in this pod are ready to do their work.',
      cell: readyCell,
    },
    {
      name: 'Status',
      type: 'string',
      description: 'The aggregate status of the containers in this pod.',
      cell: statusCell,
    },
    {
      name: 'Restarts',
      type: 'string',
      description: 'How often the containers in this pod were restarted, and how long ago that last was.',
      cell: restartsCell,
    },
    ageColumn,
    textColumn(
      'IP',
      'The address given to the pod, reachable at least from within its own network. Empty if not yet given.',
      ['status', 'podIP'],
      '<none>',
      1,
    ),
    textColumn(
      'Node',
      'The node that this pod runs on, or shall run on as soon as that node has room for it.',
      ['spec', 'nodeName'],
      '<none>',
      1,
    ),
    textColumn(
      'Nominated Node',
      'The node that is being cleared for this pod, when others have to give way to it.',
      ['status', 'nominatedNodeName'],
      '<none>',
      1,
    ),
    {
      name: 'Readiness Gates',
      type: 'string',
      description: 'Conditions beyond its containers that have to hold before this pod counts as ready.',
      priority: 1,
      cell: gatesCell,
    },
  ],
  selectable: {
    'spec.nodeName': (pod) => stringAt(pod, 'spec', 'nodeName'),
    'spec.restartPolicy': (pod) => stringAt(pod, 'spec', 'restartPolicy'),
    'spec.schedulerName': (pod) => stringAt(pod, 'spec', 'schedulerName'),
    'spec.serviceAccountName': (pod) => stringAt(pod, 'spec', 'serviceAccountName'),
    'spec.hostNetwork': (pod) => String(at(pod, 'spec', 'hostNetwork') === true),
    'status.phase': (pod) => stringAt(pod, 'status', 'phase'),
    'status.podIP': (pod) => stringAt(pod, 'status', 'podIP'),
    'status.nominatedNodeName': (pod) => stringAt(pod, 'status', 'nominatedNodeName'),
  },
  admit: (pod, lookUp) => withNamespace(withPriority(pod, lookUp, podKind), lookUp, podKind),
  prepare: preparePod,
  validate: (pod, old) => [
    ...containerProblems(pod, 'spec'),
    ...(old === undefined ? bornWithEphemeral(pod) : changeProblems(pod, old)),
  ],
  graceSeconds(pod, asked) {
    if (stringAt(pod, 'spec', 'nodeName') === '') return 0
    const ended = ['Succeeded', 'Failed'].includes(stringAt(pod, 'status', 'phase'))
    const own = at(pod, 'spec', 'terminationGracePeriodSeconds')
    return ended ? 0 : Math.max(0, asked ?? (typeof own === 'number' ? own : 30))
  },
})

/** Fills in the pull policies of the containers of the pod spec at `path`. */
export function withPullPolicies(object: KubeObject, path: readonly string[]): KubeObject {
  let result = object
  for (const field of ['initContainers', 'containers', 'ephemeralContainers']) {
    const list = listAt(object, ...path, field)
    const filled = list.map(fillContainer)
    if (filled.some((item, index) => item !== list[index])) result = withField(result, [...path, field], filled)
  }
  return result
}

function preparePod(pod: KubeObject, old: KubeObject | undefined): KubeObject {
  let result = withPullPolicies(pod, ['spec'])
  if (old !== undefined) return result
  const account = stringAt(pod, 'spec', 'serviceAccountName') || stringAt(pod, 'spec', 'serviceAccount') || 'default'
  const spec: Record<string, unknown> = { serviceAccountName: account, serviceAccount: account }
  spec['tolerations'] = withNodeTolerations(listAt(pod, 'spec', 'tolerations'))
  const before = at(result, 'spec')
  result = { ...result, spec: { ...(isObject(before) ? before : {}), ...spec } }
  return { ...result, status: { phase: 'Pending', qosClass: qosClass(result) } }
}

function fillContainer(container: unknown): unknown {
  if (!isObject(container)) return container
  if (container['imagePullPolicy'] !== undefined) return container
  const image = stringAt(container, 'image')
  const tag = /:([^/:@]+)$/.exec(image)?.[1]
  const floating = (tag === undefined && !image.includes('@')) || tag === 'latest'
  return { ...container, imagePullPolicy: floating ? 'Always' : 'IfNotPresent' }
}

/** A pod outlives a short absence of its node (the DefaultTolerationSeconds admission). */
function withNodeTolerations(given: readonly unknown[]): readonly unknown[] {
  const missing = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].filter(
    (key) =>
      !given.some(
        (item) =>
          (stringAt(item, 'key') === key || stringAt(item, 'key') === '') &&
          ['', 'NoExecute'].includes(stringAt(item, 'effect')),
      ),
  )
  return [
    ...given,
    ...missing.map((key) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: TOLERATED_SECONDS })),
  ]
}

function qosClass(pod: KubeObject): string {
  const resources = [...listAt(pod, 'spec', 'initContainers'), ...listAt(pod, 'spec', 'containers')].map((item) =>
    at(item, 'resources'),
  )
  const has = (part: unknown, kind: string) => isObject(at(part, kind)) && Object.keys(at(part, kind) ?? {}).length > 0
  if (!resources.some((part) => has(part, 'limits') || has(part, 'requests'))) return 'BestEffort'
  const guaranteed = resources.every((part) =>
    ['cpu', 'memory'].every((name) => {
      const limit = at(part, 'limits', name)
      return limit !== undefined && deepEqual(limit, at(part, 'requests', name) ?? limit)
    }),
  )
  return guaranteed ? 'Guaranteed' : 'Burstable'
}

/** What is wrong with the containers of the pod spec at `where` (`spec`, `spec.template.spec`). */
export function containerProblems(object: KubeObject, where: string): StatusCause[] {
  const causes: StatusCause[] = []
  const spec = where.split('.')
  const containers = listAt(object, ...spec, 'containers')
  if (containers.length === 0)
    causes.push({ reason: 'FieldValueRequired', message: 'Required value', field: `${where}.containers` })
  for (const field of ['containers', 'initContainers']) {
    for (const [index, container] of listAt(object, ...spec, field).entries()) {
      const name = stringAt(container, 'name')
      const path = `${where}.${field}[${index}]`
      const problem = dnsLabelProblem(name)
      if (problem !== undefined)
        causes.push({
          reason: 'FieldValueInvalid',
          message: `Invalid value: ${JSON.stringify(name)}: ${problem}`,
          field: `${path}.name`,
        })
      if (stringAt(container, 'image') === '')
        causes.push({ reason: 'FieldValueRequired', message: 'Required value', field: `${path}.image` })
    }
  }
  return causes
}

const FIXED =
  'Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

function changeProblems(pod: KubeObject, old: KubeObject): StatusCause[] {
  if (at(pod, 'spec') === at(old, 'spec')) return []
  // Binding a pod to a node is the one change of nodeName that is allowed, and only from nothing.
  const bound = stringAt(old, 'spec', 'nodeName') === ''
  const fixed = (object: KubeObject) => {
    const spec = at(object, 'spec')
    const {
      tolerations: _t,
      activeDeadlineSeconds: _a,
      nodeName,
      schedulingGates: _g,
      ...rest
    }: JsonObject = isObject(spec) ? spec : {}
    const blank = (field: string) =>
      listAt(object, 'spec', field).map((item) => (isObject(item) ? { ...item, image: '', imagePullPolicy: '' } : item))
    return {
      ...rest,
      nodeName: bound ? '' : nodeName,
      containers: blank('containers'),
      initContainers: blank('initContainers'),
    }
  }
  return deepEqual(fixed(pod), fixed(old)) ? [] : [{ reason: 'FieldValueForbidden', message: FIXED, field: 'spec' }]
}

function statuses(pod: KubeObject): readonly unknown[] {
  return listAt(pod, 'status', 'containerStatuses')
}

function readyCell(pod: KubeObject): string {
  return `${statuses(pod).filter((item) => at(item, 'ready') === true).length}/${listAt(pod, 'spec', 'containers').length}`
}

function statusCell(pod: KubeObject): string {
  if (pod.metadata.deletionTimestamp !== undefined) return 'Terminating'
  let reason = stringAt(pod, 'status', 'reason') || stringAt(pod, 'status', 'phase')
  for (const item of [...listAt(pod, 'status', 'initContainerStatuses'), ...statuses(pod)]) {
    const waiting = stringAt(item, 'state', 'waiting', 'reason')
    const ended = stringAt(item, 'state', 'terminated', 'reason')
    const code = at(item, 'state', 'terminated', 'exitCode')
    if (waiting !== '') reason = waiting
    else if (ended !== '' && reason !== 'Running') reason = ended
    else if (typeof code === 'number' && ended === '' && code !== 0) reason = `ExitCode:${code}`
  }
  return reason
}

function restartsCell(pod: KubeObject, nowMs: number): string {
  let count = 0
  let last = ''
  for (const item of statuses(pod)) {
    const restarts = at(item, 'restartCount')
    count += typeof restarts === 'number' ? restarts : 0
    const finished = stringAt(item, 'lastState', 'terminated', 'finishedAt')
    if (finished > last) last = finished
  }
  return count > 0 && last !== '' ? `${count} (${age(last, nowMs)} ago)` : String(count)
}

function gatesCell(pod: KubeObject): string {
  const gates = listAt(pod, 'spec', 'readinessGates').map((gate) => stringAt(gate, 'conditionType'))
  if (gates.length === 0) return '<none>'
  const met = gates.filter((type) =>
    listAt(pod, 'status', 'conditions').some(
      (item) => stringAt(item, 'type') === type && stringAt(item, 'status') === 'True',
    ),
  )
  return `${met.length}/${gates.length}`
}
