import type { KubeObject } from '../../objects.ts'
import { at, stringAt } from '../../objects.ts'
import { age, nameColumn } from '../columns.ts'
import { builtin } from '../kind.ts'
import {
  fields,
  integer,
  objectReference,
  objectSchema,
  optionalText,
  text,
  time,
  withDefault,
} from './schema-words.ts'

const INVOLVED = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath']

export const eventKind = builtin({
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  shortNames: ['ev'],
  namespaced: true,
  schema: objectSchema('Event is a report of something that happened to an object.', {
    involvedObject: objectReference,
    reason: optionalText,
    message: optionalText,
    source: withDefault(fields({ component: text, host: text }), {}),
    firstTimestamp: withDefault(time, null),
    lastTimestamp: withDefault(time, null),
    count: integer,
    type: optionalText,
    eventTime: withDefault(time, null),
    series: fields({ count: integer, lastObservedTime: time }),
    action: optionalText,
    related: objectReference,
    reportingComponent: withDefault(text, ''),
    reportingInstance: withDefault(text, ''),
  }),
  columns: [
    {
      name: 'Last Seen',
      type: 'string',
      description: 'When this was last seen, as the reporter tells it, or when it was created.',
      cell: (event, nowMs) => age(lastSeen(event), nowMs),
    },
    {
      name: 'Type',
      type: 'string',
      description: 'Whether this is expected or needs attention: Normal or Warning, others may follow.',
      cell: (event) => stringAt(event, 'type'),
    },
    {
      name: 'Reason',
      type: 'string',
      description: 'Why it happened, one word in CamelCase that a program can compare against others.',
      cell: (event) => stringAt(event, 'reason'),
    },
    { name: 'Object', type: 'string', description: 'The object that this event is about.', cell: involved },
    {
      name: 'Subobject',
      type: 'string',
      description: 'The part of that object that the event is about, if it is not the whole of it.',
      priority: 1,
      cell: (event) => stringAt(event, 'involvedObject', 'fieldPath'),
    },
    {
      name: 'Source',
      type: 'string',
      description: 'The component that reported the event, and the host it was running on if known.',
      priority: 1,
      cell: source,
    },
    {
      name: 'Message',
      type: 'string',
      description: 'What happened, in words that are meant for a person to read and understand.',
      cell: (event) => stringAt(event, 'message'),
    },
    {
      name: 'First Seen',
      type: 'string',
      description: 'When this was first seen, as the reporter tells it, or when it was created.',
      priority: 1,
      cell: (event, nowMs) => age(firstSeen(event), nowMs),
    },
    {
      name: 'Count',
      type: 'string',
      description: 'The number of times this event has occurred.',
      priority: 1,
      cell: (event) => at(event, 'series', 'count') ?? at(event, 'count') ?? 1,
    },
    { ...nameColumn, priority: 1 },
  ],
  selectable: {
    ...Object.fromEntries(
      INVOLVED.map((name) => [
        `involvedObject.${name}`,
        (event: KubeObject) => stringAt(event, 'involvedObject', name),
      ]),
    ),
    reason: (event) => stringAt(event, 'reason'),
    type: (event) => stringAt(event, 'type'),
    source: (event) => stringAt(event, 'source', 'component') || stringAt(event, 'reportingComponent'),
    reportingComponent: (event) => stringAt(event, 'reportingComponent'),
  },
  validate(event) {
    const about = stringAt(event, 'involvedObject', 'namespace')
    const namespace = event.metadata.namespace ?? ''
    return about === namespace || (about === '' && namespace === 'default')
      ? []
      : [
          {
            reason: 'FieldValueInvalid',
            message: `Invalid value: ${JSON.stringify(about)}: does not match event.namespace`,
            field: 'involvedObject.namespace',
          },
        ]
  },
})

function lastSeen(event: KubeObject): string | undefined {
  return stringAt(event, 'series', 'lastObservedTime') || stringAt(event, 'lastTimestamp') || firstSeen(event)
}

function firstSeen(event: KubeObject): string | undefined {
  return (
    stringAt(event, 'firstTimestamp') || stringAt(event, 'eventTime') || (event.metadata.creationTimestamp ?? undefined)
  )
}

function involved(event: KubeObject): string {
  const kind = stringAt(event, 'involvedObject', 'kind').toLowerCase()
  const name = stringAt(event, 'involvedObject', 'name')
  return name === '' ? kind : `${kind}/${name}`
}

function source(event: KubeObject): string {
  const component = stringAt(event, 'source', 'component') || stringAt(event, 'reportingComponent')
  const host = stringAt(event, 'source', 'host') || stringAt(event, 'reportingInstance')
  return host === '' ? component : `${component}, ${host}`
}
