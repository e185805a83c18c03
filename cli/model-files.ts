import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import type { Device, DeviceModel, DeviceModelSpec, ObjectKey } from '../api/resources.ts'
import { asResource, isOurs, type SluiceResource, validateResource } from '../api/validate.ts'
import { keyOf, validateSet } from '../api/validate-set.ts'
import type { Finding } from '../api/yaml/findings.ts'
import { type LocatedFinding, MAX_YAML_LENGTH, readYaml, type SourceDocument } from '../api/yaml/read.ts'
import { protocols } from '../mappers/registry.ts'

/** What a set of YAML files says, and everything that is wrong with it. */
export interface ReadFiles {
  readonly files: readonly string[]
  readonly models: readonly DeviceModel[]
  readonly devices: readonly Device[]
  readonly resources: readonly SluiceResource[]
  /** In the order of the files. */
  readonly findings: readonly LocatedFinding[]
}

interface Placed {
  readonly document: SourceDocument
  readonly resource: SluiceResource
}

/** YAML files of a folder, not of the folders below it; a file is itself; `-` is standard input. */
function expand(path: string): string[] {
  if (path === '-') return ['-']
  let folder: boolean
  try {
    folder = statSync(path).isDirectory()
  } catch (cause) {
    throw unreadable(path, cause)
  }
  if (!folder) return [path]
  return readdirSync(path)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .map((name) => join(path, name))
}

function unreadable(path: string, cause: unknown): SluiceError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  return new SluiceError('SLUICE_CLI_FILE', `'${path}' cannot be read (${reason})`, {
    hint:
      reason === 'EACCES' ? `Make it readable: chmod u+r '${path}'.` : 'Check the name; paths are relative to here.',
    cause,
  })
}

function readText(path: string): string {
  try {
    if (path !== '-' && statSync(path).size > 4 * MAX_YAML_LENGTH) return ' '.repeat(MAX_YAML_LENGTH + 1)
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** Reads and checks files as one set: YAML, schema, references between the objects, and what the protocols know. */
export async function readModelFiles(paths: readonly string[]): Promise<ReadFiles> {
  const files = [...new Set(paths.flatMap(expand))]
  const placed: Placed[] = []
  const findings: LocatedFinding[] = []
  const brokenModels = new Set<ObjectKey>()
  for (const file of files) {
    const read = readYaml(readText(file), file === '-' ? 'stdin' : file)
    findings.push(...read.findings)
    for (const document of read.documents) {
      // Other resources may stand in the same file; they are none of our business.
      if (!isOurs(document.value) && document.apiVersion !== undefined && document.kind !== undefined) continue
      const own = validateResource(document.value)
      findings.push(...own.map((finding) => locate(document, finding)))
      const resource = asResource(document.value)
      if (resource !== undefined) placed.push({ document, resource })
      else if (document.kind === 'DeviceModel' && document.name !== undefined) {
        brokenModels.add(`${document.namespace ?? 'default'}/${document.name}`)
      }
    }
  }
  const resources = placed.map(({ resource }) => resource)
  for (const finding of validateSet(resources, { brokenModels })) {
    findings.push(locate(placed[finding.object]!.document, finding))
  }
  findings.push(...(await protocolFindings(placed)))
  const order = new Map(files.map((file, index) => [file === '-' ? 'stdin' : file, index]))
  return {
    files,
    models: resources.filter((each): each is DeviceModel => each.kind === 'DeviceModel'),
    devices: resources.filter((each): each is Device => each.kind === 'Device'),
    resources,
    findings: findings.sort(
      (a, b) => order.get(a.file)! - order.get(b.file)! || a.line - b.line || a.column - b.column,
    ),
  }
}

/** Findings of a protocol about a model are placed in the model; those that start at `devices` in that device. */
async function protocolFindings(placed: readonly Placed[]): Promise<LocatedFinding[]> {
  const findings: LocatedFinding[] = []
  for (const { document, resource } of placed) {
    if (resource.kind !== 'DeviceModel') continue
    const model = resource as DeviceModel
    const users = placed.filter(
      (each) => each.resource.kind === 'Device' && modelKeyOf(each.resource as Device) === keyOf(model),
    )
    for (const protocol of protocols) {
      if (!mentions(model.spec, protocol.name)) continue
      const lint = await protocol.lint()
      const devices = users.map((each) => (each.resource as Device).spec)
      for (const finding of lint(model.spec, devices)) {
        const [head, index, ...rest] = finding.path
        const user = head === 'devices' && typeof index === 'number' ? users[index] : undefined
        if (user !== undefined) findings.push(locate(user.document, { ...finding, path: specPath(rest) }))
        else findings.push(locate(document, { ...finding, path: specPath(finding.path) }))
      }
    }
  }
  return findings
}

/** Protocols see specs, files hold whole resources. */
const specPath = (path: Finding['path']): Finding['path'] => (path[0] === 'spec' ? path : ['spec', ...path])

const mentions = (model: DeviceModelSpec, protocol: string): boolean =>
  model[protocol] !== undefined || model.properties.some((property) => property[protocol] !== undefined)

export const modelKeyOf = (device: Device): ObjectKey =>
  `${device.metadata.namespace ?? 'default'}/${device.spec.model}`

function locate(document: SourceDocument, finding: Finding): LocatedFinding {
  const object =
    document.kind === undefined || document.name === undefined ? undefined : `${document.kind} ${document.name}`
  const unknownField = finding.code === 'SLUICE_UNKNOWN_FIELD'
  return {
    ...finding,
    file: document.file,
    ...document.positionOf(finding.path, unknownField ? 'key' : 'value'),
    ...(object === undefined ? {} : { object }),
  }
}

/** Throws the first error of the files, so that a verb which needs sound ones can go on with the result. */
export async function requireSoundFiles(paths: readonly string[]): Promise<ReadFiles> {
  const read = await readModelFiles(paths)
  const errors = read.findings.filter(({ severity }) => severity === 'error')
  const [first] = errors
  if (first === undefined) return read
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  throw new SluiceError('SLUICE_CLI_FILES_INVALID', `${first.message}${more}`, {
    hint: `${first.hint} All findings: sluice model lint ${paths.join(' ')}`,
    field: first.path.join('.'),
    position: { file: first.file, line: first.line, column: first.column },
  })
}

export { keyOf }
