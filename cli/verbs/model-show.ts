import { existsSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModel, ModelProperty } from '../../api/resources.ts'
import { modelFile } from '../catalogue.ts'
import { DEFAULT_DATA } from '../device-api.ts'
import { requireSoundFiles } from '../model-files.ts'
import type { Style } from '../output.ts'
import { type Column, nearest, printable, table } from '../text.ts'
import { formatValue } from '../values.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const modelShow = defineVerb({
  name: 'model show',
  summary: 'The properties of a model as a table',
  description:
    'Reads model files, or models of the catalogue by VENDOR/MODEL; with another name it asks the Kubernetes API of the ' +
    'data folder.',
  positionals: { usage: 'FILE|NAME...', min: 1, max: 100 },
  options: {
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` },
    namespace: {
      kind: 'text',
      short: 'n',
      value: 'NAME',
      default: 'default',
      help: 'Namespace of a model asked by name.',
    },
  },
  examples: [
    { command: 'sluice model show demo/meter.yaml', says: 'Addresses, types, units, access, limits, poll' },
    { command: 'sluice model show eastron/sdm120', says: 'A model of the catalogue' },
    { command: 'sluice model show eastron-sdm120', says: 'A model that is already in the cluster' },
  ],
  async run({ options, args, out, signal, env }) {
    const fromFiles = args.filter((arg) => arg === '-' || existsSync(arg) || /[./]/.test(arg))
    const names = args.filter((arg) => !fromFiles.includes(arg))
    const files = fromFiles.map(modelFile)
    const models: DeviceModel[] = files.length === 0 ? [] : [...(await requireSoundFiles(files)).models]
    if (names.length > 0) {
      const { kubeObject, DEVICE_MODELS } = await import('../kube.ts')
      for (const name of names) {
        models.push(await kubeObject<DeviceModel>(DEVICE_MODELS, options.namespace, name, options.data, env, signal))
      }
    }
    if (models.length === 0) {
      const [near] = nearest(args[0]!, [], 1)
      throw new SluiceError('SLUICE_CLI_NO_MODEL', `There is no DeviceModel in ${args.join(', ')}`, {
        hint: near === undefined ? 'Give the file that holds the model.' : `Did you mean '${near}'?`,
      })
    }
    if (out.json) {
      out.value(models.length === 1 ? models[0] : { items: models })
      return EXIT.ok
    }
    for (const [index, model] of models.entries()) {
      if (index > 0) out.line()
      for (const line of modelLines(model, out.style, out.width)) out.line(line)
    }
    return EXIT.ok
  },
})

const COLUMNS: readonly Column[] = [
  { title: 'PROPERTY' },
  { title: 'ADDRESS', max: 44, flexible: true },
  { title: 'TYPE' },
  { title: 'UNIT' },
  { title: 'ACCESS' },
  { title: 'LIMITS', max: 36, flexible: true },
  { title: 'POLL' },
]

/** A model as a person reads it. */
export function modelLines(model: DeviceModel, style: Style, width: number): string[] {
  const { spec } = model
  const title = [spec.vendor, spec.description].filter((part) => part !== undefined).map(printable)
  const rows = spec.properties.map((property) => [
    style.bold(property.name),
    address(property),
    property.type,
    printable(property.unit ?? ''),
    property.access === undefined || property.access === 'read' ? style.dim('read') : property.access,
    printable(limits(property)),
    property.poll?.every ?? style.dim('device'),
  ])
  return [
    `${style.bold(model.metadata.name)}${title.length === 0 ? '' : `  ${title.join(', ')}`}`,
    ...(spec.source === undefined ? [] : [style.dim(`source: ${printable(spec.source)}`)]),
    '',
    ...table(COLUMNS, rows, width, style.dim),
  ]
}

const FRAME = new Set([
  'name',
  'description',
  'type',
  'unit',
  'access',
  'min',
  'max',
  'enum',
  'precision',
  'role',
  'poll',
  'report',
  'write',
])

/**
 * The binding in a few words, whatever the protocol: `holding 0x0010 uint16 ×0.1`. The first number of a binding is its
 * address in every protocol's way of writing one.
 */
export function address(property: ModelProperty): string {
  const [protocol, binding] = Object.entries(property).find(([key]) => !FRAME.has(key)) ?? []
  if (protocol === undefined) return '–'
  if (typeof binding !== 'object' || binding === null) return printable(`${protocol} ${String(binding)}`)
  const words: string[] = []
  for (const [key, value] of Object.entries(binding as Record<string, unknown>)) {
    if (typeof value === 'number' && words.length === 0) {
      words.push(`${key} 0x${value.toString(16).toUpperCase().padStart(4, '0')}`)
    } else if (key === 'scaleRegister') words.push(`×10^0x${Number(value).toString(16).toUpperCase().padStart(4, '0')}`)
    else if (key === 'as') words.push(String(value))
    else if (key === 'scale') words.push(`×${String(value)}`)
    else if (key === 'map') words.push('words')
    else if (key === 'bits' && typeof value === 'object' && value !== null) {
      const { first, count } = value as { first?: number; count?: number }
      words.push(`bits ${first}..${Number(first) + Number(count) - 1}`)
    } else if (typeof value !== 'object') words.push(`${key} ${String(value)}`)
  }
  return printable(words.join(' '))
}

function limits(property: ModelProperty): string {
  const words: string[] = []
  if (property.enum !== undefined) words.push(property.enum.map((each) => formatValue(each)).join(' | '))
  if (property.min !== undefined || property.max !== undefined) {
    words.push(`${property.min ?? '−∞'} … ${property.max ?? '∞'}`)
  }
  if (property.precision !== undefined) words.push(`step ${property.precision}`)
  return words.join(', ')
}
