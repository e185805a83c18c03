import { SluiceError } from '../api/errors.ts'
import { API_VERSION } from '../api/resources.ts'
import { NAME_PATTERN, PROPERTY_NAME_PATTERN } from '../api/schema/patterns.ts'

/** One property as a person gives it; `binding` is the inside of the protocol's YAML mapping. */
export interface PropertyDraft {
  readonly name: string
  readonly type: string
  readonly unit?: string
  readonly access?: string
  readonly binding: string
}

export interface ModelDraft {
  readonly name: string
  readonly vendor?: string
  readonly description?: string
  readonly source?: string
  readonly protocol: string
  readonly properties: readonly PropertyDraft[]
}

/** What a binding looks like, by protocol: the first is the default a person may just take. */
export const BINDING_EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  modbus: ['input: 0x0000, as: float32', 'holding: 0x0010, scale: 0.1', 'coil: 0'],
  lora: ['port: 2, at: 0, as: uint16, scale: 0.001', 'field: temperature', 'radio: rssi'],
  mqtt: ['topic: "{base}/temperature"', 'topic: "{base}", path: temperature'],
  ble: ['characteristic: batteryLevel', 'advert: bthome, field: temperature'],
}

/**
 * Reads `name:type[:unit]=binding`, as `--property` gives it: `voltage:float:V=input: 0, as: float32`. A type that ends
 * with `!` can be written too: `relay:bool!=coil: 0`.
 *
 * @throws SluiceError `SLUICE_CLI_OPTION_VALUE`.
 */
export function parseProperty(text: string): PropertyDraft {
  const match = /^([^:=!]+):([a-z]+)(!?)(?::([^=]+))?=(.+)$/s.exec(text)
  if (match === null) {
    throw new SluiceError('SLUICE_CLI_OPTION_VALUE', `Option '--property' does not take '${text}'`, {
      hint: "Write NAME:TYPE[:UNIT]=BINDING, for example 'voltage:float:V=input: 0, as: float32'.",
    })
  }
  const [, name = '', type = '', writable, unit, binding = ''] = match
  return {
    name: name.trim(),
    type,
    ...(unit === undefined ? {} : { unit: unit.trim() }),
    ...(writable === '!' ? { access: 'readwrite' } : {}),
    binding: binding.trim(),
  }
}

/** Text as YAML reads it back: JSON is YAML, and needs no thought about special characters. */
const scalar = (text: string): string =>
  /^[A-Za-z][A-Za-z0-9 _./()-]*$/.test(text) && !/^(true|false|null|yes|no|on|off)$/i.test(text) && !/\s$/.test(text)
    ? text
    : JSON.stringify(text)

/** The model as a commented YAML file. What is left out stands there as a comment, to be filled in. */
export function modelYaml({ name, vendor, description, source, protocol, properties }: ModelDraft): string {
  const field = (key: string, value: string | undefined, hint: string): string =>
    value === undefined || value === '' ? `  # ${key}: ${hint}` : `  ${key}: ${scalar(value)}`
  return [
    `# What every device of this type has in common. Check it with: sluice model lint ${name}.yaml`,
    `apiVersion: ${API_VERSION}`,
    'kind: DeviceModel',
    `metadata: { name: ${scalar(name)} }`,
    'spec:',
    field('vendor', vendor, 'who makes it'),
    field('description', description, 'what it is, in one line'),
    field('source', source, 'the document that its addresses are from'),
    '  # What else a property may say:',
    '  #   min: 0, max: 100            written values outside are refused before they reach the device',
    '  #   precision: 0.1              readings are rounded to this step',
    '  #   poll: { every: 60s }        read it less often than the rest',
    '  #   report: { deadband: 0.5 }   changes smaller than this are not worth telling',
    '  #   role: power                 power, energy, battery, temperature: what it means to the twin',
    '  properties:',
    ...properties.flatMap((property) => propertyLines(property, protocol)),
    '',
  ].join('\n')
}

function propertyLines({ name, type, unit, access, binding }: PropertyDraft, protocol: string): string[] {
  return [
    `    - name: ${scalar(name)}`,
    `      type: ${scalar(type)}`,
    ...(unit === undefined || unit === '' ? [] : [`      unit: ${scalar(unit)}`]),
    ...(access === undefined || access === 'read' ? [] : [`      access: ${scalar(access)}`]),
    `      ${protocol}: { ${binding} }`,
  ]
}

/** Asks one question and resolves to the answer, or to `initial` when it was empty. */
export type Ask = (question: string, initial?: string) => Promise<string>

export interface Questions {
  readonly ask: Ask
  /** Shows why an answer was not taken; the question comes again. */
  readonly say: (words: string) => void
  readonly protocols: readonly string[]
  /** What is wrong with a model, in words; undefined when it is sound. Asked after every property. */
  readonly check: (draft: ModelDraft) => Promise<string | undefined>
}

const TYPES = ['float', 'int', 'bool', 'string', 'bytes'] as const
const ACCESS = ['read', 'readwrite', 'write'] as const

/**
 * Asks for whatever the draft does not say yet; an answer that cannot stand is asked for again at once, so that nobody
 * loses what was typed because of it. An empty property name ends the list.
 */
export async function askForModel(known: Partial<ModelDraft>, questions: Questions): Promise<ModelDraft> {
  const { ask, protocols } = questions
  const words = (question: string, allowed: readonly string[], initial: string) =>
    insist(questions, `${question} (${allowed.join(', ')})`, initial, (answer) =>
      allowed.includes(answer) ? undefined : `'${answer}' is not one of them`,
    )
  const name =
    known.name ??
    (await insist(questions, 'Name of the model (small letters, digits, dashes)', '', (answer) =>
      NAME.test(answer) ? undefined : `'${answer}' cannot be a name: small letters and digits, dashes between them`,
    ))
  const vendor = known.vendor ?? (await ask('Vendor'))
  const description = known.description ?? (await ask('What is it, in one line'))
  const source = known.source ?? (await ask('Document the addresses are from'))
  const protocol = known.protocol ?? (await words('Protocol', protocols, protocols[0] ?? 'modbus'))
  const properties = [...(known.properties ?? [])]
  const examples = BINDING_EXAMPLES[protocol] ?? []
  while (properties.length < 1024) {
    const first = properties.length === 0
    const property = await insist(
      questions,
      first ? 'First property (voltage, temperature, ...)' : 'Next property (empty: done)',
      '',
      (answer) => propertyProblem(answer, first, properties),
    )
    if (property === '') break
    const type = await words('  Type', TYPES, 'float')
    const unit = type === 'float' || type === 'int' ? await ask('  Unit (V, W, degC, %; empty: none)') : ''
    const access = await words('  Access', ACCESS, 'read')
    for (;;) {
      const binding = await ask(`  Where (such as ${examples.join(' | ')})`, examples[0])
      const draft = { name: property, type, unit, access, binding }
      const problem = await questions.check({ name, protocol, properties: [...properties, draft] })
      if (problem === undefined) {
        properties.push(draft)
        break
      }
      questions.say(problem)
    }
  }
  return { name, vendor, description, source, protocol, properties }
}

const NAME = new RegExp(NAME_PATTERN)
const PROPERTY_NAME = new RegExp(PROPERTY_NAME_PATTERN)

function propertyProblem(answer: string, first: boolean, properties: readonly PropertyDraft[]): string | undefined {
  if (answer === '') return first ? 'a model needs a property' : undefined
  if (properties.some(({ name }) => name === answer)) return `there is a property '${answer}' already`
  return PROPERTY_NAME.test(answer)
    ? undefined
    : `'${answer}' cannot be a name: letters, digits, - and _, a letter first`
}

async function insist(
  { ask, say }: Questions,
  question: string,
  initial: string,
  problemOf: (answer: string) => string | undefined,
): Promise<string> {
  for (;;) {
    const answer = await ask(question, initial)
    const problem = problemOf(answer)
    if (problem === undefined) return answer
    say(problem)
  }
}
