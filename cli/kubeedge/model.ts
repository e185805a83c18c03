import type { ModelProperty } from '../../api/resources.ts'
import { type Notes, type Path, Reader } from './notes.ts'

/** A property of a KubeEdge DeviceModel; where it lives on the device is for each device to say. */
export interface KubeEdgeProperty {
  readonly name: string
  readonly path: Path
  readonly description: string | undefined
  readonly type: ModelProperty['type']
  readonly writable: boolean
  readonly min: number | undefined
  readonly max: number | undefined
  readonly unit: string | undefined
  /** `visitors` of a v1beta1 model, under those of the device. */
  readonly visitors: unknown
}

const TYPES = {
  int: 'int',
  float: 'float',
  double: 'float',
  string: 'string',
  boolean: 'bool',
  bytes: 'bytes',
  stream: undefined,
} as const
type TypeWord = keyof typeof TYPES
const WORDS = Object.keys(TYPES) as TypeWord[]

export function readProperties(spec: Reader, version: string, notes: Notes): readonly KubeEdgeProperty[] {
  return spec.list('properties').flatMap((from) => {
    const property = version === 'v1alpha2' ? oldProperty(from, notes) : newProperty(from, notes)
    return property === undefined ? [] : [property]
  })
}

function newProperty(from: Reader, notes: Notes): KubeEdgeProperty | undefined {
  const word = from.word('type', WORDS)
  const common = limitsOf(from)
  const visitors = from.any('visitors')
  const property = finish(from, word, { ...common, visitors }, notes)
  from.end()
  return property
}

function oldProperty(from: Reader, notes: Notes): KubeEdgeProperty | undefined {
  const types = from.map('type')
  const word = WORDS.find((each) => types.has(each))
  types.skip(...WORDS)
  const inner = word === undefined ? new Reader({}, from.at('type'), notes) : types.map(word)
  const common = limitsOf(inner)
  inner.leaveOut('defaultValue', 'Give the device a desired value instead.')
  inner.end()
  const property = finish(from, word, { ...common, visitors: undefined }, notes)
  types.end()
  from.end()
  return property
}

const limitsOf = (from: Reader) => ({
  writable: from.word('accessMode', ['ReadWrite', 'ReadOnly']) === 'ReadWrite',
  min: from.number('minimum'),
  max: from.number('maximum'),
  unit: from.text('unit'),
})

function finish(
  from: Reader,
  word: TypeWord | undefined,
  rest: Pick<KubeEdgeProperty, 'writable' | 'min' | 'max' | 'unit' | 'visitors'>,
  notes: Notes,
): KubeEdgeProperty | undefined {
  const name = from.text('name')
  const description = from.text('description')
  const type = word === undefined ? undefined : TYPES[word]
  if (name === undefined) notes.refuse(from.path, 'the property has no name', 'Give it one.')
  if (word === 'stream') {
    notes.refuse(
      from.at('type'),
      'video streams are not twins',
      'Remove the property, or leave it to the KubeEdge mapper.',
    )
  } else if (word === undefined && !from.has('type')) {
    notes.refuse(from.path, 'the property has no type', `Add one of ${WORDS.join(', ').toUpperCase()}.`)
  }
  if (name === undefined || type === undefined) return undefined
  return { name, path: from.path, description, type, ...rest }
}
