/** What may stand at a place of a DeviceModel, for an editor's completion: small enough to be sent whole. */
export interface SchemaWords {
  /** What it is, in one sentence. */
  readonly about?: string
  /** `string`, `number`, `boolean`, `object`, `array`. */
  readonly type?: string
  readonly keys?: Readonly<Record<string, SchemaWords>>
  readonly values?: readonly (string | number | boolean)[]
  /** Of a list, or of a map with free keys. */
  readonly item?: SchemaWords
}

let made: Promise<SchemaWords> | undefined

/** The schema of a whole DeviceModel with every protocol's words, from the one source that types and CRDs come from. */
export function modelSchema(): Promise<SchemaWords> {
  made ??= assemble()
  made.catch(() => (made = undefined))
  return made
}

async function assemble(): Promise<SchemaWords> {
  // The builder of schemas is needed by nobody else in a running cloud core.
  const [{ deviceModelSpec }, { protocols }] = await Promise.all([
    import('../../api/schema/device-model.ts'),
    import('../../mappers/registry.ts'),
  ])
  const spec: unknown = deviceModelSpec(await Promise.all(protocols.map((protocol) => protocol.schema())))
  const word = (about: string): SchemaWords => ({ type: 'string', about })
  return {
    type: 'object',
    keys: {
      apiVersion: { type: 'string', values: ['sluice.dev/v1alpha1'] },
      kind: { type: 'string', values: ['DeviceModel'] },
      metadata: {
        type: 'object',
        keys: {
          name: word('Lower case letters, digits, - and dots.'),
          namespace: word('Default: default.'),
          labels: { type: 'object' },
          annotations: { type: 'object' },
        },
      },
      spec: wordsOf(spec, 0),
    },
  }
}

/** Deeper nothing is written by hand. */
const MAX_DEPTH = 12

function wordsOf(schema: unknown, depth: number): SchemaWords {
  if (typeof schema !== 'object' || schema === null || depth > MAX_DEPTH) return {}
  const field = (name: string): unknown => Reflect.get(schema, name)
  const type = field('type')
  const about = field('description')
  const given = field('const') === undefined ? field('enum') : [field('const')]
  const keys = record(field('properties'))
  const item = field('items') ?? field('additionalProperties') ?? Object.values(record(field('patternProperties')))[0]
  const own: SchemaWords = {
    ...(typeof about === 'string' ? { about } : {}),
    ...(typeof type === 'string' ? { type: type === 'integer' ? 'number' : type } : {}),
    ...(Array.isArray(given) ? { values: given.filter(isValue) } : {}),
    ...(Object.keys(keys).length === 0
      ? {}
      : { keys: Object.fromEntries(Object.entries(keys).map(([name, each]) => [name, wordsOf(each, depth + 1)])) }),
    ...(typeof item === 'object' && item !== null ? { item: wordsOf(item, depth + 1) } : {}),
  }
  const choices = [field('anyOf'), field('oneOf'), field('allOf')].flatMap((each) => (Array.isArray(each) ? each : []))
  return choices.map((each) => wordsOf(each, depth + 1)).reduce(merged, own)
}

function merged(a: SchemaWords, b: SchemaWords): SchemaWords {
  const values = [...new Set([...(a.values ?? []), ...(b.values ?? [])])]
  const item = a.item ?? b.item
  const about = a.about ?? b.about
  const type = a.type ?? b.type
  return {
    ...(about === undefined ? {} : { about }),
    ...(type === undefined ? {} : { type }),
    ...(a.keys === undefined && b.keys === undefined ? {} : { keys: { ...b.keys, ...a.keys } }),
    ...(values.length === 0 ? {} : { values }),
    ...(item === undefined ? {} : { item }),
  }
}

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {}

const isValue = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
