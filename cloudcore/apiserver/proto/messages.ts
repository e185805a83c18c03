import type { JsonObject } from '../objects.ts'
import { kubeTime } from '../objects.ts'
import { malformed, readFields } from './reader.ts'

/**
 * How a protobuf field becomes a JSON field. Field numbers are those of the generated.proto files of k8s.io/api and
 * k8s.io/apimachinery; they are the wire interface and never change.
 */
type Type =
  | 'text'
  | 'bytes'
  | 'integer'
  | 'flag'
  | 'intOrString'
  | 'time'
  | 'textMap'
  | 'bytesMap'
  | { readonly message: Message }
  | { readonly list: Type }

type Message = Readonly<Record<number, readonly [name: string, type: Type]>>

const OWNER_REFERENCE: Message = {
  1: ['kind', 'text'],
  3: ['name', 'text'],
  4: ['uid', 'text'],
  5: ['apiVersion', 'text'],
  6: ['controller', 'flag'],
  7: ['blockOwnerDeletion', 'flag'],
}

const OBJECT_META: Message = {
  1: ['name', 'text'],
  2: ['generateName', 'text'],
  3: ['namespace', 'text'],
  5: ['uid', 'text'],
  6: ['resourceVersion', 'text'],
  7: ['generation', 'integer'],
  8: ['creationTimestamp', 'time'],
  9: ['deletionTimestamp', 'time'],
  10: ['deletionGracePeriodSeconds', 'integer'],
  11: ['labels', 'textMap'],
  12: ['annotations', 'textMap'],
  13: ['ownerReferences', { list: { message: OWNER_REFERENCE } }],
  14: ['finalizers', { list: 'text' }],
}

const METADATA = ['metadata', { message: OBJECT_META }] as const
const OBJECT_REFERENCE: Message = {
  1: ['kind', 'text'],
  2: ['namespace', 'text'],
  3: ['name', 'text'],
  4: ['uid', 'text'],
  5: ['apiVersion', 'text'],
  6: ['resourceVersion', 'text'],
  7: ['fieldPath', 'text'],
}
const LOCAL_REFERENCE: Message = { 1: ['name', 'text'] }

const RESOURCE_ATTRIBUTES: Message = {
  1: ['namespace', 'text'],
  2: ['verb', 'text'],
  3: ['group', 'text'],
  4: ['version', 'text'],
  5: ['resource', 'text'],
  6: ['subresource', 'text'],
  7: ['name', 'text'],
}
const ROLE: Message = {
  1: METADATA,
  2: [
    'rules',
    {
      list: {
        message: {
          1: ['verbs', { list: 'text' }],
          2: ['apiGroups', { list: 'text' }],
          3: ['resources', { list: 'text' }],
          4: ['resourceNames', { list: 'text' }],
          5: ['nonResourceURLs', { list: 'text' }],
        },
      },
    },
  ],
}

const BINDING: Message = {
  1: METADATA,
  2: [
    'subjects',
    {
      list: {
        message: { 1: ['kind', 'text'], 2: ['apiGroup', 'text'], 3: ['name', 'text'], 4: ['namespace', 'text'] },
      },
    },
  ],
  3: ['roleRef', { message: { 1: ['apiGroup', 'text'], 2: ['kind', 'text'], 3: ['name', 'text'] } }],
}

const ACCESS_SPEC: Message = {
  1: ['resourceAttributes', { message: RESOURCE_ATTRIBUTES }],
  2: ['nonResourceAttributes', { message: { 1: ['path', 'text'], 2: ['verb', 'text'] } }],
}

const LABEL_SELECTOR: Message = {
  1: ['matchLabels', 'textMap'],
  2: [
    'matchExpressions',
    { list: { message: { 1: ['key', 'text'], 2: ['operator', 'text'], 3: ['values', { list: 'text' }] } } },
  ],
}
const CONTAINER: Message = {
  1: ['name', 'text'],
  2: ['image', 'text'],
  3: ['command', { list: 'text' }],
  4: ['args', { list: 'text' }],
  5: ['workingDir', 'text'],
  6: [
    'ports',
    {
      list: {
        message: {
          1: ['name', 'text'],
          2: ['hostPort', 'integer'],
          3: ['containerPort', 'integer'],
          4: ['protocol', 'text'],
          5: ['hostIP', 'text'],
        },
      },
    },
  ],
  7: ['env', { list: { message: { 1: ['name', 'text'], 2: ['value', 'text'] } } }],
  14: ['imagePullPolicy', 'text'],
}
/** What `kubectl create deployment` and `create job` can say; richer pods come as JSON from `apply`. */
const POD_TEMPLATE: Message = {
  1: METADATA,
  2: [
    'spec',
    {
      message: {
        2: ['containers', { list: { message: CONTAINER } }],
        3: ['restartPolicy', 'text'],
        4: ['terminationGracePeriodSeconds', 'integer'],
        7: ['nodeSelector', 'textMap'],
        8: ['serviceAccountName', 'text'],
      },
    },
  ],
}

/** The kinds that kubectl's typed commands send as protobuf and this server has. */
export const MESSAGES: Readonly<Record<string, Message>> = {
  'v1/Namespace': {
    1: METADATA,
    2: ['spec', { message: { 1: ['finalizers', { list: 'text' }] } }],
    3: ['status', { message: { 1: ['phase', 'text'] } }],
  },
  'v1/ConfigMap': { 1: METADATA, 2: ['data', 'textMap'], 3: ['binaryData', 'bytesMap'], 4: ['immutable', 'flag'] },
  'v1/Secret': {
    1: METADATA,
    2: ['data', 'bytesMap'],
    3: ['type', 'text'],
    4: ['stringData', 'textMap'],
    5: ['immutable', 'flag'],
  },
  'v1/ServiceAccount': {
    1: METADATA,
    2: ['secrets', { list: { message: OBJECT_REFERENCE } }],
    3: ['imagePullSecrets', { list: { message: LOCAL_REFERENCE } }],
    4: ['automountServiceAccountToken', 'flag'],
  },
  'apps/v1/Deployment': {
    1: METADATA,
    2: [
      'spec',
      {
        message: {
          1: ['replicas', 'integer'],
          2: ['selector', { message: LABEL_SELECTOR }],
          3: ['template', { message: POD_TEMPLATE }],
        },
      },
    ],
  },
  'batch/v1/Job': { 1: METADATA, 2: ['spec', { message: { 6: ['template', { message: POD_TEMPLATE }] } }] },
  'policy/v1/PodDisruptionBudget': {
    1: METADATA,
    2: [
      'spec',
      {
        message: {
          1: ['minAvailable', 'intOrString'],
          2: ['selector', { message: LABEL_SELECTOR }],
          3: ['maxUnavailable', 'intOrString'],
        },
      },
    ],
  },
  'authorization.k8s.io/v1/SelfSubjectAccessReview': { 1: METADATA, 2: ['spec', { message: ACCESS_SPEC }] },
  'authorization.k8s.io/v1/SelfSubjectRulesReview': {
    1: METADATA,
    2: ['spec', { message: { 1: ['namespace', 'text'] } }],
  },
  'authentication.k8s.io/v1/SelfSubjectReview': { 1: METADATA },
  'rbac.authorization.k8s.io/v1/Role': ROLE,
  'rbac.authorization.k8s.io/v1/ClusterRole': ROLE,
  'rbac.authorization.k8s.io/v1/RoleBinding': BINDING,
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': BINDING,
}

/** Decodes one message. Empty strings and unknown numbers are left out, as the JSON form of the same object would. */
export function decodeMessage(bytes: Buffer, message: Message): JsonObject {
  const object: Record<string, unknown> = {}
  for (const { number, value } of readFields(bytes)) {
    const field = message[number]
    if (field === undefined) continue
    const [name, type] = field
    const inList = typeof type === 'object' && 'list' in type
    // An empty item of a list is an item: the API group "" is the core group.
    const decoded = decodeValue(value, inList ? type.list : type) ?? (inList && type.list === 'text' ? '' : undefined)
    if (decoded === undefined) continue
    if (inList) {
      const list = object[name]
      object[name] = Array.isArray(list) ? [...list, decoded] : [decoded]
    } else if (type === 'textMap' || type === 'bytesMap') {
      object[name] = { ...asObject(object[name]), ...asObject(decoded) }
    } else {
      object[name] = decoded
    }
  }
  return object
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}

function decodeValue(value: bigint | Buffer, type: Type): unknown {
  if (typeof type === 'object') {
    if ('list' in type) return undefined
    return decodeMessage(bytesOf(value), type.message)
  }
  switch (type) {
    case 'text':
      return bytesOf(value).toString('utf8') || undefined
    case 'bytes':
      return bytesOf(value).toString('base64')
    case 'integer':
      return Number(BigInt.asIntN(64, numberOf(value)))
    case 'flag':
      return numberOf(value) !== 0n
    case 'intOrString':
      return decodeIntOrString(bytesOf(value))
    case 'time':
      return decodeTime(bytesOf(value))
    case 'textMap':
      return decodeEntry(bytesOf(value), (entry) => entry.toString('utf8'))
    case 'bytesMap':
      return decodeEntry(bytesOf(value), (entry) => entry.toString('base64'))
  }
}

/** IntOrString {1: type (0 number, 1 text), 2: number, 3: text}. */
function decodeIntOrString(bytes: Buffer): number | string {
  const parts = new Map(readFields(bytes).map(({ number, value }) => [number, value]))
  return parts.get(1) === 1n ? bytesOf(parts.get(3) ?? Buffer.alloc(0)).toString('utf8') : Number(parts.get(2) ?? 0n)
}

function decodeTime(bytes: Buffer): string | undefined {
  const seconds = readFields(bytes).find((field) => field.number === 1)?.value
  if (typeof seconds !== 'bigint') return undefined
  const ms = Number(BigInt.asIntN(64, seconds)) * 1000
  return Math.abs(ms) <= 8.64e15 ? kubeTime(ms) : undefined
}

function decodeEntry(bytes: Buffer, read: (value: Buffer) => string): JsonObject {
  let key = ''
  let value = ''
  for (const field of readFields(bytes)) {
    if (field.number === 1) key = bytesOf(field.value).toString('utf8')
    if (field.number === 2) value = read(bytesOf(field.value))
  }
  return key === '__proto__' ? {} : { [key]: value }
}

function bytesOf(value: bigint | Buffer): Buffer {
  if (typeof value === 'bigint') throw malformed()
  return value
}

function numberOf(value: bigint | Buffer): bigint {
  if (typeof value !== 'bigint') throw malformed()
  return value
}
