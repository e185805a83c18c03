import { API_VERSION, type Device, type DeviceModel, type Json } from '../api/resources.ts'
import { asResource, type SluiceResource, validateResource } from '../api/validate.ts'
import { deviceFindings } from '../api/validate-set.ts'
import type { Finding } from '../api/yaml/findings.ts'
import { type CsvRow, readCsv } from './csv.ts'
import { nearest } from './text.ts'

export interface RowProblem {
  readonly line: number
  /** Which column, where it is about one. */
  readonly column?: string
  readonly message: string
  readonly hint?: string
}

export interface ImportOptions {
  /** For rows without a column `model`. */
  readonly model?: string
  readonly namespace?: string
  readonly nodeName?: string
  /** Fields every device gets unless its row says otherwise: `modbus.rtu.port` by value. */
  readonly defaults?: Readonly<Record<string, string>>
  /** Models that are known, so that bindings and desired values can be checked. */
  readonly models: ReadonlyMap<string, DeviceModel>
}

export interface ImportedDevices {
  readonly devices: readonly Device[]
  readonly problems: readonly RowProblem[]
}

/** Columns with a short name; every other column is a path into the device's spec: `modbus.unit`, `desired.speed`. */
const SHORT: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    name: ['metadata', 'name'],
    namespace: ['metadata', 'namespace'],
    model: ['spec', 'model'],
    gateway: ['spec', 'nodeName'],
    nodeName: ['spec', 'nodeName'],
    poll: ['spec', 'poll', 'every'],
  }),
)

const pathOf = (column: string): readonly string[] => SHORT.get(column) ?? ['spec', ...column.split('.')]

const isDevice = (resource: SluiceResource): resource is Device => resource.kind === 'Device'

type Tree = { [key: string]: Json | Tree }

const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value)

function put(tree: Tree, path: readonly string[], value: Json): void {
  let at = tree
  for (const step of path.slice(0, -1)) {
    const next = Object.hasOwn(at, step) ? at[step] : undefined
    const child: Tree = isTree(next) ? next : {}
    Object.defineProperty(at, step, { value: child, enumerable: true, writable: true, configurable: true })
    at = child
  }
  const last = path.at(-1)!
  Object.defineProperty(at, last, { value, enumerable: true, writable: true, configurable: true })
}

/** A cell as JSON where it plainly is a number or a truth; `0011` and `16:04` stay text. */
function cellValue(cell: string): Json {
  if (cell === 'true') return true
  if (cell === 'false') return false
  const number = Number(cell)
  if (/^-?(0|[1-9][0-9]*)(\.[0-9]+)?$/.test(cell) && Number.isFinite(number)) return number
  return cell
}

/** Reads a table of devices: a header line with the columns, then one device a line. All that is wrong, at once. */
export function devicesFromCsv(text: string, options: ImportOptions): ImportedDevices {
  const { rows, problems: csvProblems } = readCsv(text)
  const problems: RowProblem[] = [...csvProblems]
  const [header, ...body] = rows
  if (header === undefined) return { devices: [], problems: [...problems, { line: 1, message: 'the file is empty' }] }
  const columns = header.cells.map((cell) => cell.trim())
  problems.push(...headerProblems(columns, header.line))
  if (body.length === 0) problems.push({ line: header.line, message: 'there is no device below the header' })
  if (problems.length > 0) return { devices: [], problems }
  const devices: Device[] = []
  const seen = new Map<string, number>()
  for (const row of body) {
    const { device, problems: own } = deviceOf(row, columns, options)
    problems.push(...own)
    if (device === undefined) continue
    const key = `${device.metadata.namespace ?? 'default'}/${device.metadata.name}`
    const first = seen.get(key)
    if (first === undefined) seen.set(key, row.line)
    else problems.push({ line: row.line, column: 'name', message: `'${key}' is on line ${first} already` })
    devices.push(device)
  }
  return { devices, problems: problems.sort((a, b) => a.line - b.line) }
}

function headerProblems(columns: readonly string[], line: number): RowProblem[] {
  const problems: RowProblem[] = []
  if (!columns.includes('name')) {
    const [near] = nearest('name', columns, 1)
    const hint =
      near === undefined ? 'The first line names the columns: name,modbus.unit' : `Is it the column '${near}'?`
    problems.push({ line, message: "there is no column 'name'", hint })
  }
  for (const [index, column] of columns.entries()) {
    if (columns.indexOf(column) !== index)
      problems.push({ line, column, message: `the column '${column}' is there twice` })
    if (!/^[A-Za-z][\w-]*(\.[A-Za-z][\w-]*)*$/.test(column)) {
      const hint = "A column is one of name, namespace, model, gateway, poll, or a path such as 'modbus.unit'."
      problems.push({ line, column, message: `'${column}' is no name of a column`, hint })
    }
  }
  return problems
}

function deviceOf(row: CsvRow, columns: readonly string[], options: ImportOptions) {
  const cells = new Map<string, string>(Object.entries(options.defaults ?? {}))
  for (const [index, column] of columns.entries()) {
    const cell = row.cells[index]?.trim() ?? ''
    // An empty cell says nothing: the default holds.
    if (cell !== '') cells.set(column, cell)
  }
  const problems: RowProblem[] = []
  if (row.cells.length > columns.length) {
    const message = `there are ${row.cells.length} cells for ${columns.length} columns`
    problems.push({ line: row.line, message, hint: 'Put a cell that holds the separator into quotes.' })
  }
  const asText = new Set<string>()
  let { device, findings } = build(cells, asText, options)
  // What looks like a number may have to be text (an all-digit DevEUI, a room called 12): the schema knows.
  for (const finding of findings) {
    const column = columnOf(finding, cells)
    if (column !== undefined && typeof cellValue(cells.get(column)!) !== 'string') asText.add(column)
  }
  if (asText.size > 0) {
    const again = build(cells, asText, options)
    if (again.findings.length < findings.length) ({ device, findings } = again)
  }
  for (const finding of findings) {
    const column = columnOf(finding, cells) ?? nameOfField(finding)
    const { message, hint } = finding
    problems.push({ line: row.line, ...(column === undefined ? {} : { column }), message, hint })
  }
  return { device, problems }
}

function columnOf(finding: Finding, cells: ReadonlyMap<string, string>): string | undefined {
  const path = finding.path.join('.')
  return [...cells.keys()].find((column) => pathOf(column).join('.') === path)
}

/** What a column for this would be called: an empty cell is none. */
function nameOfField({ path }: Finding): string | undefined {
  const field = path.join('.')
  const short = [...SHORT.keys()].find((column) => pathOf(column).join('.') === field)
  return short ?? (field === '' ? undefined : field.replace(/^spec\./, ''))
}

function build(cells: ReadonlyMap<string, string>, asText: ReadonlySet<string>, options: ImportOptions) {
  const tree: Tree = { apiVersion: API_VERSION, kind: 'Device', metadata: { name: '' }, spec: {} }
  if (options.namespace !== undefined) put(tree, pathOf('namespace'), options.namespace)
  if (options.model !== undefined) put(tree, pathOf('model'), options.model)
  if (options.nodeName !== undefined) put(tree, pathOf('gateway'), options.nodeName)
  for (const [column, cell] of cells) {
    const named = SHORT.has(column)
    put(tree, pathOf(column), named || asText.has(column) ? cell : cellValue(cell))
  }
  const findings = [...validateResource(tree)]
  const resource = findings.length === 0 ? asResource(tree) : undefined
  const device = resource !== undefined && isDevice(resource) ? resource : undefined
  const model = device === undefined ? undefined : options.models.get(device.spec.model)
  if (device !== undefined && model !== undefined) findings.push(...deviceFindings(device.spec, model.spec))
  return { device, findings }
}
