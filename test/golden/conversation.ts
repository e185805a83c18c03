import { readFileSync } from 'node:fs'
import type { ApiClient } from './api-client.ts'

/** One request of the conversation; steps.json holds them in order. */
export interface Step {
  readonly id: string
  readonly method?: string
  readonly path: string
  readonly accept?: string
  readonly contentType?: string
  readonly body?: unknown
  /** Milliseconds the recorded server was given before this step; ours needs none, it is waited for by condition. */
  readonly pause?: number
  /** Take metadata.resourceVersion of the body from this path first. */
  readonly useRv?: string
  readonly watch?: boolean
  readonly pick?: 'onlyGolden' | 'openapiIndex' | 'names' | 'page'
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Fields = { readonly [key: string]: Json }

export interface Difference {
  readonly path: string
  readonly want: unknown
  readonly got: unknown
}

function data<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
}

export const steps = data<readonly Step[]>('steps.json')
export const answers = data<Readonly<Record<string, Json>>>('answers.json')
/** Steps that need not agree, with the reason why. Only a Pod's own validation may stand here. */
export const exempt = data<readonly { readonly step: string; readonly reason: string }[]>('exempt.json')
const loose = data<readonly string[]>('loose.json').map(loosePattern)

/** Holds the whole conversation with a server and returns what it answered, in the form that answers.json has. */
export async function converse(client: ApiClient): Promise<Record<string, Json>> {
  const heard: Record<string, Json> = {}
  for (const step of steps) {
    if (step.id === 'w-list-after-crd-delete')
      await gone(client, 'customresourcedefinitions', 'widgets.golden.example.dev')
    heard[step.id] = await ask(client, step)
  }
  return heard
}

/** A deleted definition lingers until its objects are gone: waits for the event that says so. */
async function gone(client: ApiClient, plural: string, name: string): Promise<void> {
  const path = `/apis/apiextensions.k8s.io/v1/${plural}`
  const answer = await client.call({ path: `${path}?fieldSelector=metadata.name%3D${name}` })
  const listed: Json = JSON.parse(answer.text)
  if (list(field(listed, 'items')).length === 0) return
  const from = String(field(listed, 'metadata', 'resourceVersion'))
  for await (const { type } of client.watch(
    `${path}?watch=1&fieldSelector=metadata.name%3D${name}&resourceVersion=${from}`,
  )) {
    if (type === 'DELETED') return
  }
}

async function ask(client: ApiClient, step: Step): Promise<Json> {
  let { body } = step
  if (step.useRv !== undefined && isFields(body)) {
    const live: Json = JSON.parse((await client.call({ path: step.useRv })).text)
    const metadata = isFields(body['metadata']) ? body['metadata'] : {}
    const rv = isFields(live) && isFields(live['metadata']) ? live['metadata']['resourceVersion'] : undefined
    body = { ...body, metadata: { ...metadata, ...(rv === undefined ? {} : { resourceVersion: rv }) } }
  }
  const { method, path, accept, contentType } = step
  const asked = {
    path,
    body,
    ...(method === undefined ? {} : { method }),
    ...(accept === undefined ? {} : { accept }),
    ...(contentType === undefined ? {} : { contentType }),
  }
  const answer = await client.call(asked)
  const head = {
    status: answer.status,
    type: answer.type,
    ...(answer.warning === undefined ? {} : { warning: answer.warning }),
  }
  if (step.watch === true) {
    const events = answer.text.split('\n').filter((line) => line !== '')
    return {
      ...head,
      events: events.map((line) =>
        step.id === 'watch-table' ? tableEvent(JSON.parse(line)) : normal(JSON.parse(line)),
      ),
    }
  }
  const parsed = parse(answer.text)
  if (parsed === undefined) return { ...head, body: answer.text.slice(0, 200) }
  const whole = normal(step.pick === undefined ? parsed : pick(step.pick, parsed))
  return {
    ...head,
    body:
      isFields(whole) && Array.isArray(whole['items']) ? { ...whole, items: whole['items'].toSorted(byName) } : whole,
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function field(value: Json | undefined, ...path: readonly (string | number)[]): Json | undefined {
  let current = value
  for (const key of path) {
    if (typeof key === 'number') current = Array.isArray(current) ? current[key] : undefined
    else current = isFields(current) ? current[key] : undefined
  }
  return current
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

function byName(left: Json, right: Json): number {
  return String(field(left, 'metadata', 'name')) < String(field(right, 'metadata', 'name')) ? -1 : 1
}

function tableEvent(event: Json): Json {
  const cells = list(field(event, 'object', 'rows', 0, 'cells')).length
  return {
    type: field(event, 'type') ?? null,
    kind: field(event, 'object', 'kind') ?? null,
    columns: list(field(event, 'object', 'columnDefinitions')).length,
    cells,
  }
}

/** Some answers hold the server's other content too; only what the conversation is about is compared. */
function pick(what: NonNullable<Step['pick']>, body: Json): Json {
  const kind = field(body, 'kind') ?? null
  switch (what) {
    case 'onlyGolden': {
      const row = list(field(body, 'rows')).find((item) => field(item, 'cells', 0) === 'widgets.golden.example.dev')
      return {
        kind,
        columns: list(field(body, 'columnDefinitions')).map((column) => field(column, 'name') ?? null),
        row: list(field(row, 'cells')).length,
      }
    }
    case 'openapiIndex':
      return {
        hasGroup: isFields(field(body, 'paths')) && field(body, 'paths', 'apis/golden.example.dev/v1') !== undefined,
      }
    case 'names':
      return {
        kind,
        names: list(field(body, 'items'))
          .map((item) => String(field(item, 'metadata', 'name')))
          .sort(),
      }
    case 'page':
      return {
        kind,
        count: list(field(body, 'items')).length,
        continue: Boolean(field(body, 'metadata', 'continue')),
        remaining: field(body, 'metadata', 'remainingItemCount') !== undefined,
      }
  }
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

/** Replaces what differs from run to run (names the server draws, times, versions) by what it is. */
function normal(value: Json, key = ''): Json {
  if (Array.isArray(value)) return value.map((item) => normal(item, key))
  if (isFields(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([name, child]): [string, Json] => {
        if (name === 'description' && typeof child === 'string' && child.length > 60) return [name, '<text>']
        if (name === 'managedFields' && Array.isArray(child)) return [name, child.map(managerText).sort()]
        return [name, normal(child, name)]
      }),
    )
  }
  return typeof value === 'string' ? normalText(value, key) : value
}

function managerText(entry: Json): string {
  const subresource = field(entry, 'subresource')
  return `${field(entry, 'manager')}:${field(entry, 'operation')}${subresource === undefined ? '' : `/${subresource}`}`
}

function normalText(value: string, key: string): string {
  if (value === '') return value
  if (key === 'uid' && !value.startsWith('0000')) return '<uid>'
  if (key === 'resourceVersion') return '<rv>'
  if (key === 'continue') return '<continue>'
  if (TIME.test(value) && !value.startsWith('2026-01-01')) return '<time>'
  return value
    .replace(/\bgen-[a-z0-9]{5}\b/g, 'gen-<rand>')
    .replace(/[Tt]oo (old|large) resource version: \d+( \(\d+\))?(, current: \d+)?/g, (match) =>
      match.replace(/\d+/g, '<n>'),
    )
    .replace(/^\d+[smh](\d+s)?$/, '<age>')
}

/** "step: dotted.path", `*` standing for anything; a pattern covers everything below its path. */
function loosePattern(rule: string): RegExp {
  const literal = rule.split('*').map((part) => part.replace(/[.[\]/:()$^+?]/g, '\\$&'))
  return new RegExp(`^${literal.join('.*')}(\\.|\\[|$)`)
}

/** Where an answer differs from the recorded one, but for what loose.json leaves open. */
export function differences(id: string, got: Json | undefined): Difference[] {
  const found: Difference[] = []
  const compare = (path: string, left: Json | undefined, right: Json | undefined): void => {
    if (loose.some((pattern) => pattern.test(`${id}: ${path}`))) return
    const below = (name: string | number) => (path === '' ? String(name) : `${path}.${name}`)
    if (Array.isArray(left) && Array.isArray(right)) {
      for (let index = 0; index < Math.max(left.length, right.length); index++)
        compare(below(index), left[index], right[index])
    } else if (isFields(left) && isFields(right)) {
      for (const name of new Set([...Object.keys(left), ...Object.keys(right)]))
        compare(below(name), left[name], right[name])
    } else if (JSON.stringify(left) !== JSON.stringify(right)) found.push({ path, want: left, got: right })
  }
  compare('', answers[id], got)
  // An Event of January is as old as the day of the recording; the age itself moves on.
  return id === 'event-table' ? found.filter(({ want, got: now }) => !(isAge(want) && isAge(now))) : found
}

function isAge(value: unknown): boolean {
  return typeof value === 'string' && /^\d+[ydhms](\d+[dhms])?$/.test(value)
}
