import type { KubeObject } from '../../objects.ts'
import { at, isObject, listAt, stringAt, withField } from '../../objects.ts'
import { age, ageColumn, nameColumn } from '../columns.ts'
import { builtin, type Column, type ScalePaths } from '../kind.ts'
import { withPullPolicies } from './pod.ts'
import {
  labelSelector,
  podTemplate,
  rollingUpdate,
  selectorText,
  templateProblems,
  workloadConditions,
} from './pod-template.ts'
import { anything, fields, flag, integer, list, objectSchema, oneOf, text, time, withDefault } from './schema-words.ts'

/** The kinds that make pods: apps/v1 and batch/v1. Their controllers are in cloudcore/controllers. */

const TEMPLATE = ['spec', 'template', 'spec']
const number = (object: KubeObject, ...path: string[]) => Number(at(object, ...path) ?? 0)

const count = (name: string, description: string, cell: Column['cell']): Column => ({
  ...{ name, type: 'integer', description, cell },
})

const template = (object: KubeObject) => {
  const containers = listAt(object, ...TEMPLATE, 'containers')
  return {
    containers: containers.map((each) => stringAt(each, 'name')).join(','),
    images: containers.map((each) => stringAt(each, 'image')).join(','),
  }
}

const wide: readonly Column[] = [
  {
    ...{ name: 'Containers', type: 'string', priority: 1, description: 'Names of each container in the template.' },
    cell: (object) => template(object).containers,
  },
  {
    ...{ name: 'Images', type: 'string', priority: 1, description: 'Images referenced by each container.' },
    cell: (object) => template(object).images,
  },
  {
    ...{ name: 'Selector', type: 'string', priority: 1, description: 'Which pods belong to it.' },
    cell: (object) => selectorText(at(object, 'spec', 'selector')),
  },
]

const scale: ScalePaths = {
  spec: ['spec', 'replicas'],
  status: ['status', 'replicas'],
  selector: ['spec', 'selector'],
}

const shared = {
  version: 'v1',
  namespaced: true,
  hasStatus: true,
  counts: true,
  categories: ['all'],
} as const

/** Fields of a template's metadata that some clients send and nobody reads: two equal templates have to compare equal. */
const IDLE = ['creationTimestamp', 'generation', 'resourceVersion', 'uid', 'namespace', 'generateName']

function prepare(object: KubeObject): KubeObject {
  let next = withPullPolicies(object, TEMPLATE)
  for (const field of IDLE) next = withField(next, ['spec', 'template', 'metadata', field], undefined)
  return next
}

export const deploymentKind = builtin({
  ...shared,
  group: 'apps',
  kind: 'Deployment',
  plural: 'deployments',
  shortNames: ['deploy'],
  scale,
  schema: objectSchema('Deployment keeps a number of equal pods running and replaces them step by step.', {
    spec: fields(
      {
        replicas: withDefault(integer, 1),
        selector: labelSelector,
        template: podTemplate,
        strategy: withDefault(
          fields({
            type: withDefault(oneOf('RollingUpdate', 'Recreate'), 'RollingUpdate'),
            rollingUpdate: rollingUpdate('25%', '25%'),
          }),
          {},
        ),
        minReadySeconds: integer,
        revisionHistoryLimit: withDefault(integer, 10),
        progressDeadlineSeconds: withDefault(integer, 600),
        paused: flag,
      },
      ['selector', 'template'],
    ),
    status: fields({
      observedGeneration: integer,
      replicas: integer,
      updatedReplicas: integer,
      readyReplicas: integer,
      availableReplicas: integer,
      unavailableReplicas: integer,
      terminatingReplicas: integer,
      collisionCount: integer,
      conditions: workloadConditions,
    }),
  }),
  columns: [
    nameColumn,
    {
      ...{ name: 'Ready', type: 'string', description: 'Number of pods that are ready, and of those asked for.' },
      cell: (object) => `${number(object, 'status', 'readyReplicas')}/${number(object, 'spec', 'replicas')}`,
    },
    count('Up-to-date', 'Pods of the newest template.', (object) => number(object, 'status', 'updatedReplicas')),
    count('Available', 'Pods that have been ready for long enough.', (object) =>
      number(object, 'status', 'availableReplicas'),
    ),
    ageColumn,
    ...wide,
  ],
  prepare(object) {
    const filled = prepare(object)
    const strategy = at(filled, 'spec', 'strategy', 'type')
    if (strategy === 'Recreate' || at(filled, 'spec', 'strategy', 'rollingUpdate') !== undefined) return filled
    return withField(filled, ['spec', 'strategy', 'rollingUpdate'], { maxUnavailable: '25%', maxSurge: '25%' })
  },
  validate: templateProblems,
})

export const replicaSetKind = builtin({
  ...shared,
  group: 'apps',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  shortNames: ['rs'],
  scale,
  schema: objectSchema('ReplicaSet keeps a number of equal pods running.', {
    spec: fields(
      { replicas: withDefault(integer, 1), minReadySeconds: integer, selector: labelSelector, template: podTemplate },
      ['selector'],
    ),
    status: withDefault(
      fields({
        replicas: withDefault(integer, 0),
        fullyLabeledReplicas: integer,
        readyReplicas: integer,
        availableReplicas: integer,
        terminatingReplicas: integer,
        observedGeneration: integer,
        conditions: workloadConditions,
      }),
      {},
    ),
  }),
  columns: [
    nameColumn,
    count('Desired', 'Number of pods asked for.', (object) => number(object, 'spec', 'replicas')),
    count('Current', 'Pods there are.', (object) => number(object, 'status', 'replicas')),
    count('Ready', 'Pods that are ready.', (object) => number(object, 'status', 'readyReplicas')),
    ageColumn,
    ...wide,
  ],
  prepare,
  validate: templateProblems,
})

export const daemonSetKind = builtin({
  ...shared,
  group: 'apps',
  kind: 'DaemonSet',
  plural: 'daemonsets',
  shortNames: ['ds'],
  schema: objectSchema('DaemonSet keeps one pod on each node.', {
    spec: fields(
      {
        selector: labelSelector,
        template: podTemplate,
        updateStrategy: withDefault(
          fields({
            type: withDefault(oneOf('RollingUpdate', 'OnDelete'), 'RollingUpdate'),
            rollingUpdate: rollingUpdate(1, 0),
          }),
          {},
        ),
        minReadySeconds: integer,
        revisionHistoryLimit: withDefault(integer, 10),
      },
      ['selector', 'template'],
    ),
    status: withDefault(
      fields({
        currentNumberScheduled: withDefault(integer, 0),
        numberMisscheduled: withDefault(integer, 0),
        desiredNumberScheduled: withDefault(integer, 0),
        numberReady: withDefault(integer, 0),
        observedGeneration: integer,
        updatedNumberScheduled: integer,
        numberAvailable: integer,
        numberUnavailable: integer,
        collisionCount: integer,
        conditions: workloadConditions,
      }),
      {},
    ),
  }),
  columns: [
    nameColumn,
    count('Desired', 'Nodes that are to run the pod.', (object) => number(object, 'status', 'desiredNumberScheduled')),
    count('Current', 'Nodes that have the pod.', (object) => number(object, 'status', 'currentNumberScheduled')),
    count('Ready', 'Nodes on which it is ready.', (object) => number(object, 'status', 'numberReady')),
    count('Up-to-date', 'Pods of the newest template.', (object) => number(object, 'status', 'updatedNumberScheduled')),
    count('Available', 'Pods that have been ready for long enough.', (object) =>
      number(object, 'status', 'numberAvailable'),
    ),
    {
      ...{ name: 'Node Selector', type: 'string', description: 'Nodes it is for.' },
      cell: (object) => {
        const selector = at(object, ...TEMPLATE, 'nodeSelector')
        return selectorText({ matchLabels: selector }) || '<none>'
      },
    },
    ageColumn,
    ...wide,
  ],
  prepare,
  validate: templateProblems,
})

export const controllerRevisionKind = builtin({
  group: 'apps',
  version: 'v1',
  kind: 'ControllerRevision',
  plural: 'controllerrevisions',
  namespaced: true,
  schema: objectSchema('ControllerRevision is a template that was in force once.', {
    data: anything,
    revision: integer,
  }),
  columns: [
    nameColumn,
    {
      ...{ name: 'Controller', type: 'string', description: 'Whose revision it is.' },
      cell: ({ metadata }) => {
        const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)
        return owner === undefined ? '<none>' : `${owner.kind.toLowerCase()}.apps/${owner.name}`
      },
    },
    count('Revision', 'Its number.', (object) => number(object, 'revision')),
    ageColumn,
  ],
})

export const jobKind = builtin({
  ...shared,
  group: 'batch',
  kind: 'Job',
  plural: 'jobs',
  selectable: { 'status.successful': (object) => String(number(object, 'status', 'succeeded')) },
  schema: objectSchema('Job runs pods until enough of them succeeded.', {
    spec: fields(
      {
        parallelism: integer,
        completions: integer,
        activeDeadlineSeconds: integer,
        backoffLimit: withDefault(integer, 6),
        selector: labelSelector,
        manualSelector: flag,
        template: podTemplate,
        ttlSecondsAfterFinished: integer,
        completionMode: withDefault(oneOf('NonIndexed', 'Indexed'), 'NonIndexed'),
        suspend: withDefault(flag, false),
        podReplacementPolicy: withDefault(oneOf('TerminatingOrFailed', 'Failed'), 'TerminatingOrFailed'),
      },
      ['template'],
    ),
    status: withDefault(
      fields({
        conditions: workloadConditions,
        startTime: time,
        completionTime: time,
        active: integer,
        ready: integer,
        terminating: integer,
        succeeded: integer,
        failed: integer,
        completedIndexes: text,
        uncountedTerminatedPods: fields({ succeeded: list(text), failed: list(text) }),
      }),
      {},
    ),
  }),
  columns: [
    nameColumn,
    { ...{ name: 'Status', type: 'string', description: 'Status of the job.' }, cell: jobStatus },
    {
      ...{ name: 'Completions', type: 'string', description: 'Pods that succeeded, and how many have to.' },
      cell: (object) => {
        const wanted = at(object, 'spec', 'completions')
        const parallel = number(object, 'spec', 'parallelism')
        const of = wanted === undefined ? (parallel > 1 ? `1 of ${parallel}` : '1') : String(wanted)
        return `${number(object, 'status', 'succeeded')}/${of}`
      },
    },
    { ...{ name: 'Duration', type: 'string', description: 'Time it took.' }, cell: jobDuration },
    ageColumn,
    ...wide,
  ],
  prepare(object, old) {
    let job = prepare(object)
    if (at(job, 'spec', 'parallelism') === undefined) job = withField(job, ['spec', 'parallelism'], 1)
    // A job without either number is done after one pod.
    if (at(object, 'spec', 'completions') === undefined && at(object, 'spec', 'parallelism') === undefined) {
      job = withField(job, ['spec', 'completions'], 1)
    }
    if (old !== undefined || at(job, 'spec', 'manualSelector') === true) return job
    // Its pods are its own alone: the selector names the job's uid.
    const labels = at(job, 'spec', 'template', 'metadata', 'labels')
    const own = {
      'batch.kubernetes.io/controller-uid': job.metadata.uid ?? '',
      'batch.kubernetes.io/job-name': job.metadata.name,
      'controller-uid': job.metadata.uid ?? '',
      'job-name': job.metadata.name,
    }
    job = withField(job, ['spec', 'template', 'metadata', 'labels'], { ...(isObject(labels) ? labels : {}), ...own })
    const uid = 'batch.kubernetes.io/controller-uid'
    return withField(job, ['spec', 'selector'], { matchLabels: { [uid]: own[uid] } })
  },
  validate(object, old) {
    const causes = templateProblems(object, old)
    if (stringAt(object, ...TEMPLATE, 'restartPolicy') === 'Always') {
      const message = 'Unsupported value: "Always": supported values: "OnFailure", "Never"'
      causes.push({ reason: 'FieldValueNotSupported', message, field: 'spec.template.spec.restartPolicy' })
    }
    return causes
  },
})

function jobStatus(job: KubeObject): string {
  const holds = (type: string) =>
    listAt(job, 'status', 'conditions').some(
      (each) => stringAt(each, 'type') === type && stringAt(each, 'status') === 'True',
    )
  if (holds('Complete')) return 'Complete'
  if (holds('Failed')) return 'Failed'
  if (job.metadata.deletionTimestamp !== undefined) return 'Terminating'
  if (holds('Suspended')) return 'Suspended'
  return holds('FailureTarget') ? 'FailureTarget' : 'Running'
}

function jobDuration(job: KubeObject, nowMs: number): string {
  const start = stringAt(job, 'status', 'startTime')
  if (start === '') return ''
  const end = stringAt(job, 'status', 'completionTime')
  return age(start, end === '' ? nowMs : Date.parse(end))
}
