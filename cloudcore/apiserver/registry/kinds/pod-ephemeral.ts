import { CONFIG_MIRROR } from '../../../../api/link/static-pods.ts'
import type { StatusCause } from '../../http/status.ts'
import type { KubeObject } from '../../objects.ts'
import { at, deepEqual, isObject, listAt, stringAt, withField, withMetadata } from '../../objects.ts'
import type { Kind } from '../kind.ts'
import { dnsLabelProblem } from '../names.ts'

const FIELD = 'spec.ephemeralContainers'

/** What of a container makes sense in one that looks into a pod (core validation's allowedEphemeralContainerFields). */
const ALLOWED: ReadonlySet<string> = new Set([
  ...['name', 'image', 'command', 'args', 'workingDir', 'envFrom', 'env', 'volumeMounts', 'volumeDevices'],
  ...['terminationMessagePath', 'terminationMessagePolicy', 'imagePullPolicy', 'securityContext'],
  ...['stdin', 'stdinOnce', 'tty', 'targetContainerName'],
])

/** The pod as the door `ephemeralcontainers` sees it: whatever else a request says about the pod is left out. */
export function throughEphemeralDoor(pod: Kind): Kind {
  return {
    ...pod,
    prepare(given, old) {
      const asked = pod.prepare?.(given, old) ?? given
      if (old === undefined) return asked
      const { managedFields } = asked.metadata
      const list = listAt(asked, 'spec', 'ephemeralContainers')
      const next = withField(old, ['spec', 'ephemeralContainers'], list.length === 0 ? undefined : list)
      return withMetadata(next, { managedFields })
    },
    validate: (given, old) => [...ephemeralProblems(given), ...(old === undefined ? [] : changeProblems(given, old))],
  }
}

/** They are added to a pod that is there. */
export function bornWithEphemeral(pod: KubeObject): StatusCause[] {
  if (listAt(pod, 'spec', 'ephemeralContainers').length === 0) return []
  return [{ reason: 'FieldValueForbidden', message: 'Forbidden: cannot be set on create', field: FIELD }]
}

function changeProblems(pod: KubeObject, old: KubeObject): StatusCause[] {
  const forbidden = (message: string, field = FIELD): StatusCause[] => [
    { reason: 'FieldValueForbidden', message: `Forbidden: ${message}`, field },
  ]
  // Nobody tells a gateway of them: it runs such a pod from a file of its own.
  if (old.metadata.annotations?.[CONFIG_MIRROR] !== undefined) {
    return forbidden('static pods do not support ephemeral containers', '')
  }
  const now = listAt(pod, 'spec', 'ephemeralContainers')
  for (const before of listAt(old, 'spec', 'ephemeralContainers')) {
    const name = stringAt(before, 'name')
    const after = now.find((one) => stringAt(one, 'name') === name)
    if (after === undefined)
      return forbidden(`existing ephemeral containers ${JSON.stringify(name)} may not be removed\n`)
    if (!deepEqual(after, before))
      return forbidden(`existing ephemeral containers ${JSON.stringify(name)} may not be changed\n`)
  }
  return []
}

function ephemeralProblems(pod: KubeObject): StatusCause[] {
  const causes: StatusCause[] = []
  const add = (reason: StatusCause['reason'], message: string, field: string) => causes.push({ reason, message, field })
  const others = ['containers', 'initContainers'].flatMap((field) =>
    listAt(pod, 'spec', field).map((one) => stringAt(one, 'name')),
  )
  const taken = new Set(others)
  for (const [index, one] of listAt(pod, 'spec', 'ephemeralContainers').entries()) {
    const path = `${FIELD}[${index}]`
    const name = stringAt(one, 'name')
    const problem = name === '' ? undefined : dnsLabelProblem(name)
    if (name === '') add('FieldValueRequired', 'Required value', `${path}.name`)
    else if (problem !== undefined)
      add('FieldValueInvalid', `Invalid value: ${JSON.stringify(name)}: ${problem}`, `${path}.name`)
    else if (taken.has(name)) add('FieldValueDuplicate', `Duplicate value: ${JSON.stringify(name)}`, `${path}.name`)
    taken.add(name)
    if (stringAt(one, 'image') === '') add('FieldValueRequired', 'Required value', `${path}.image`)
    const target = stringAt(one, 'targetContainerName')
    if (target !== '' && !others.includes(target))
      add('FieldValueNotFound', `Not found: ${JSON.stringify(target)}`, `${path}.targetContainerName`)
    for (const [field, value] of Object.entries(isObject(one) ? one : {})) {
      if (ALLOWED.has(field) || isEmpty(value)) continue
      add('FieldValueForbidden', 'Forbidden: cannot be set for an Ephemeral Container', `${path}.${field}`)
    }
    for (const [place, mount] of listAt(one, 'volumeMounts').entries()) {
      for (const field of ['subPath', 'subPathExpr']) {
        if (at(mount, field) === undefined) continue
        const message = 'Forbidden: cannot be set for an Ephemeral Container'
        add('FieldValueForbidden', message, `${path}.volumeMounts[${place}].${field}`)
      }
    }
  }
  return causes
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || (typeof value === 'object' && Object.keys(value).length === 0)
