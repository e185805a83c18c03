import type { Catalogue, CatalogueDevice, CatalogueProperty } from '../src/catalogue.ts'
import { type Answer, fetchCatalogue } from './catalogue-client.ts'
import type { EditedNode } from './red.ts'

/** Which pickers a dialog has, by the property of the node that each one fills. */
export interface PickerOptions {
  readonly device?: boolean
  readonly model?: boolean
  readonly property?: 'readable' | 'writable' | 'any'
  readonly method?: boolean
  /** A gateway by name, where the connection leads to a fleet. */
  readonly of?: boolean
  /** A pod, where the connection leads to a cloud core. */
  readonly pod?: boolean
  /** Words for "any device", which a node that writes does not offer: there it means "from the message". */
  readonly anyKey: string
}

const REFRESH_MS = 5000

/**
 * Fills the pickers of a dialog from the live gateway, and keeps what the flow already names even where the gateway does
 * not know it (any more): nothing is lost by opening a dialog while the gateway is away.
 */
export function preparePickers(node: EditedNode, options: PickerOptions): void {
  const gateway = select('gateway')
  let known: Answer = { state: 'undeployed' }
  const refresh = async () => {
    if (!document.body.contains(gateway)) {
      clearInterval(timer)
      return
    }
    known = await fetchCatalogue(gateway.value)
    fill(node, options, known)
  }
  const timer = setInterval(refresh, REFRESH_MS)
  gateway.addEventListener('change', () => void refresh())
  // jQuery's events of the editor's own widget do not reach listeners of the document.
  for (const name of ['device', 'model', 'property']) {
    selectOrNone(name)?.addEventListener('change', () => fill(node, options, known))
  }
  for (const [name] of pickersOf(options)) keepValue(name, node)
  chooseOnlyGateway(gateway)
  void refresh()
}

/** Where there is one gateway, that is the one. */
function chooseOnlyGateway(gateway: HTMLSelectElement): void {
  const [only, ...more] = [...gateway.options].filter(({ value }) => value !== '_ADD_' && value !== '')
  if (only === undefined || more.length > 0 || gateway.value === only.value) return
  gateway.value = only.value
  gateway.dispatchEvent(new Event('change', { bubbles: true }))
}

type PickerName = 'device' | 'model' | 'property' | 'method' | 'of' | 'pod'

function* pickersOf(options: PickerOptions): Generator<[PickerName]> {
  if (options.device) yield ['device']
  if (options.model) yield ['model']
  if (options.property !== undefined) yield ['property']
  if (options.method) yield ['method']
  if (options.of) yield ['of']
  if (options.pod) yield ['pod']
}

const byId = (name: string) => document.getElementById(`node-input-${name}`)
const selectOrNone = (name: string): HTMLSelectElement | undefined => {
  const found = byId(name)
  return found instanceof HTMLSelectElement ? found : undefined
}
function select(name: string): HTMLSelectElement {
  const found = selectOrNone(name)
  if (found === undefined) throw new Error(`the dialog has no field ${name}`)
  return found
}

/** Node-RED sets a value before the options are there: it is put in as an option of its own. */
function keepValue(name: string, node: EditedNode): void {
  const field = selectOrNone(name)
  const value = typeof node[name] === 'string' ? (node[name] as string) : ''
  if (field === undefined || value === '') return
  field.append(option(value, value))
  field.value = value
}

function fill(node: EditedNode, options: PickerOptions, answer: Answer): void {
  const live: Catalogue = 'devices' in answer ? answer : { state: 'lost', devices: [], gateways: [] }
  const device = selectOrNone('device')?.value ?? ''
  const model = selectOrNone('model')?.value ?? ''
  const chosen = live.devices.find(({ key, label }) => key === device || label === device)
  const candidates = chosen === undefined ? live.devices.filter((one) => model === '' || one.model === model) : [chosen]
  if (options.device) {
    const shown = live.devices.filter((one) => model === '' || one.model === model)
    offer(
      node,
      'device',
      options.anyKey,
      shown.map((one) => [one.key, `${one.label}  (${one.model}, ${one.state})`]),
    )
  }
  if (options.model) {
    const models = [...new Set(live.devices.map((one) => one.model))].sort()
    offer(
      node,
      'model',
      'picker.anyModel',
      models.map((name) => [name, name]),
    )
  }
  if (options.property !== undefined) {
    const properties = commonProperties(candidates, options.property)
    // What answers messages is told the property by them, unless it is set here.
    const asked = options.anyKey === 'picker.fromMessage'
    const all: [string, string][] =
      asked && options.property !== 'writable' ? [['*', node._('picker.anyProperty')]] : []
    offer(node, 'property', asked ? options.anyKey : 'picker.anyProperty', [
      ...all,
      ...properties.map((property): [string, string] => [property.name, propertyLabel(property)]),
    ])
    hint(properties.find(({ name }) => name === selectOrNone('property')?.value))
  }
  if (options.method) {
    const methods = candidates.flatMap((one) => one.methods)
    const names = new Map(methods.map(({ name, properties }) => [name, `${name}(${properties.join(', ')})`]))
    offer(node, 'method', 'picker.choose', [...names])
  }
  if (options.of)
    offer(
      node,
      'of',
      options.pod === true ? options.anyKey : 'picker.anyGateway',
      live.gateways.map((name) => [name, name]),
    )
  if (options.pod) {
    const pods = (live.pods ?? []).map(({ key, node }): [string, string] => [key, `${key}  (${node ?? '–'})`])
    offer(node, 'pod', options.anyKey, pods)
  }
  const state = document.getElementById('sluice-picker-state')
  if (state === null) return
  const lacks = lackOf(options, live, candidates)
  const tip = answer.state === 'connected' ? lacks : answer.state
  state.textContent = tip === undefined ? '' : node._(`picker.${tip}`)
  state.hidden = tip === undefined
}

/** Why a picker that has to be filled has nothing to offer. */
function lackOf(
  options: PickerOptions,
  live: Catalogue,
  candidates: readonly CatalogueDevice[],
): 'noPods' | 'noMethods' | undefined {
  if (options.pod && live.pods === undefined) return 'noPods'
  if (options.method && candidates.every(({ methods }) => methods.length === 0)) return 'noMethods'
  return undefined
}

/** Properties that every candidate device has, by name. */
function commonProperties(
  devices: readonly CatalogueDevice[],
  want: 'readable' | 'writable' | 'any',
): CatalogueProperty[] {
  const seen = new Map<string, CatalogueProperty>()
  for (const { properties } of devices) {
    for (const property of properties) {
      const fits = want === 'any' || (want === 'writable' ? property.access !== 'read' : property.access !== 'write')
      if (fits && !seen.has(property.name)) seen.set(property.name, property)
    }
  }
  return [...seen.values()]
}

function propertyLabel({ name, type, unit, value }: CatalogueProperty): string {
  const now = value === undefined || typeof value === 'object' ? '' : `  = ${value}`
  return `${name}  [${unit ?? type}]${now}`
}

/** Type, unit and limits of the chosen property, beneath its picker. */
function hint(property: CatalogueProperty | undefined): void {
  const place = document.getElementById('sluice-property-hint')
  if (place === null) return
  if (property === undefined) {
    place.textContent = ''
    return
  }
  const { type, unit, min, max, description } = property
  const limits = min === undefined && max === undefined ? '' : `${min ?? '…'} – ${max ?? '…'}`
  const words = property.enum === undefined ? '' : property.enum.map((one) => JSON.stringify(one)).join(' | ')
  place.textContent = [type, unit, limits, words, description]
    .filter((part) => part !== undefined && part !== '')
    .join(' · ')
}

/** Replaces the options of a select; the value it has stays, also when nothing offers it. */
function offer(node: EditedNode, name: string, anyKey: string, entries: readonly (readonly [string, string])[]): void {
  const field = selectOrNone(name)
  if (field === undefined) return
  const { value } = field
  const known = value === '' || entries.some(([key]) => key === value)
  const options = [option('', node._(anyKey)), ...entries.map(([key, label]) => option(key, label))]
  if (!known) options.push(option(value, `${value}  (${node._('picker.unknown')})`))
  field.replaceChildren(...options)
  field.value = value
}

/** Text only: a device may be called anything. */
function option(value: string, label: string): HTMLOptionElement {
  const made = document.createElement('option')
  made.value = value
  made.textContent = label
  return made
}
