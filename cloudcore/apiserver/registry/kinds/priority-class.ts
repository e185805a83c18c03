import { forbidden, type StatusCause } from '../../http/status.ts'
import type { KubeObject } from '../../objects.ts'
import { at, isObject, stringAt, withField } from '../../objects.ts'
import { ageColumn, nameColumn, textColumn } from '../columns.ts'
import { builtin, type Kind, type LookUp } from '../kind.ts'
import { fields, flag, integer, objectSchema, text } from './schema-words.ts'

/** Of everybody's clusters; they are there without an object. */
const SYSTEM: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
}
/** Higher ones are the system's own. */
const MOST = 1_000_000_000

export const priorityClassKind = builtin({
  group: 'scheduling.k8s.io',
  version: 'v1',
  kind: 'PriorityClass',
  plural: 'priorityclasses',
  shortNames: ['pc'],
  namespaced: false,
  schema: objectSchema('PriorityClass says how important pods of a name are.', {
    ...fields({ value: integer, globalDefault: flag, description: text, preemptionPolicy: text }).properties,
  }),
  columns: [
    nameColumn,
    {
      name: 'Value',
      type: 'integer',
      description: 'Priority of its pods.',
      cell: (one) => Number(at(one, 'value') ?? 0),
    },
    {
      name: 'Global-Default',
      type: 'boolean',
      description: 'Whether pods without a class are of this one.',
      cell: (one) => at(one, 'globalDefault') === true,
    },
    ageColumn,
    textColumn(
      ...(['PreemptionPolicy', 'Whether its pods take the place of others.', ['preemptionPolicy']] as const),
      ...(['PreemptLowerPriority'] as const),
    ),
  ],
  prepare: (object) =>
    at(object, 'preemptionPolicy') === undefined
      ? withField(object, ['preemptionPolicy'], 'PreemptLowerPriority')
      : object,
  validate: (object) => {
    const value = at(object, 'value')
    const causes: StatusCause[] = []
    if (typeof value === 'number' && value > MOST) {
      const message = `Forbidden: maximum allowed value of a user defined priority is ${MOST}`
      causes.push({ reason: 'FieldValueForbidden', field: 'value', message })
    }
    const policy = stringAt(object, 'preemptionPolicy')
    if (!['PreemptLowerPriority', 'Never'].includes(policy)) {
      const message = `Unsupported value: ${JSON.stringify(policy)}: supported values: "Never", "PreemptLowerPriority"`
      causes.push({ reason: 'FieldValueNotSupported', field: 'preemptionPolicy', message })
    }
    return causes
  },
})

/** What a new pod's class means, as the Priority admission of a real server says it. */
export function withPriority(pod: KubeObject, lookUp: LookUp, podKind: Kind): KubeObject {
  const given = stringAt(pod, 'spec', 'priorityClassName')
  const found = given === '' ? defaultClass(lookUp) : classOf(given, lookUp)
  if (given !== '' && found === undefined) {
    throw forbidden(podKind, pod.metadata.name, `no PriorityClass with name ${given} was found`)
  }
  const { name = '', value = 0, policy = 'PreemptLowerPriority' } = found ?? {}
  const asked = at(pod, 'spec', 'priority')
  if (typeof asked === 'number' && asked !== value) {
    const text = `the integer value of priority (${asked}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`
    throw forbidden(podKind, pod.metadata.name, text)
  }
  const spec = at(pod, 'spec')
  return withField(pod, ['spec'], {
    ...(isObject(spec) ? spec : {}),
    ...(name === '' ? {} : { priorityClassName: name }),
    ...{ priority: value, preemptionPolicy: at(pod, 'spec', 'preemptionPolicy') ?? policy },
  })
}

interface Found {
  readonly name: string
  readonly value: number
  readonly policy: string
}

function classOf(name: string, lookUp: LookUp): Found | undefined {
  const system = SYSTEM[name]
  if (system !== undefined) return { name, value: system, policy: 'PreemptLowerPriority' }
  return read(lookUp.get(priorityClassKind.resource, name))
}

/** Of several the least important one, as a real server has it. */
function defaultClass(lookUp: LookUp): Found | undefined {
  return [...lookUp.all(priorityClassKind.resource)]
    .filter((each) => at(each, 'globalDefault') === true)
    .flatMap((each) => read(each) ?? [])
    .sort((a, b) => a.value - b.value)[0]
}

function read(object: KubeObject | undefined): Found | undefined {
  if (object === undefined) return undefined
  const policy = stringAt(object, 'preemptionPolicy')
  return { name: object.metadata.name, value: Number(at(object, 'value') ?? 0), policy }
}
