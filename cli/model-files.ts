import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import { type Device, type DeviceModel, type DeviceModelSpec, type ObjectKey, objectKey } from '../api/resources.ts'
import type { SluiceResource } from '../api/validate.ts'
import { DEFAULT_NAMESPACE, keyOf, validateSet } from '../api/validate-set.ts'
import type { Finding } from '../api/yaml/findings.ts'
import { type LoadedResource, loadManifests, locateFindings } from '../api/yaml/load.ts'
import { type LocatedFinding, MAX_YAML_LENGTH } from '../api/yaml/read.ts'
import { protocols } from '../mappers/registry.ts'
import { isKubeEdge, listed } from './kubeedge/documents.ts'
import { references } from './references.ts'

/** What a set of YAML files says, and everything that is wrong with it. */
export interface ReadFiles {
  readonly files: readonly string[]
  readonly models: readonly DeviceModel[]
  readonly devices: readonly Device[]
  readonly resources: readonly SluiceResource[]
  /** In the order of the files. */
  readonly findings: readonly LocatedFinding[]
  /** Text of each file as findings name it, for excerpts. */
  readonly sources: ReadonlyMap<string, string>
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
    const bytes = readFileSync(path === '-' ? 0 : path)
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw unreadable(path, cause)
    throw new SluiceError('SLUICE_CLI_FILE', `'${path}' is no text in UTF-8`, {
      hint: 'Give a YAML file; save it as UTF-8 if it was written in another encoding.',
      cause,
    })
  }
}

/** Reads and checks files as one set: YAML, schema, references between the objects, and what the protocols know. */
export async function readModelFiles(paths: readonly string[]): Promise<ReadFiles> {
  const files = [...new Set(paths.flatMap(expand))]
  if (files.length === 0) {
    throw new SluiceError('SLUICE_CLI_FILE', `There is no YAML file in ${paths.join(', ')}`, {
      hint: 'Name the files, or a folder that has .yaml, .yml or .json files in it (folders below are not searched).',
    })
  }
  const named = files.map((file) => ({ file: file === '-' ? 'stdin' : file, text: readText(file) }))
  const read = loadManifests(named, references)
  const { findings, sources } = read
  // Other resources in a file are none of our business, but whoever brings KubeEdge's expects them to be read.
  const kubeEdge = read.others.flatMap(listed).filter(isKubeEdge)
  const translated =
    kubeEdge.length === 0 ? undefined : (await import('./kubeedge/translate.ts')).translateKubeEdge(kubeEdge)
  const loaded = [...read.resources, ...(translated?.loaded ?? [])]
  const between = translated === undefined ? [] : setFindings(loaded, read.resources.length, translated.brokenModels)
  const order = new Map(named.map(({ file }, index) => [file, index]))
  // What fragments say of themselves comes last: they are files that nobody named.
  const rank = ({ file }: LocatedFinding): number => order.get(file) ?? files.length
  const all = [...findings, ...(translated?.findings ?? []), ...between, ...(await protocolFindings(loaded))]
  const resources = loaded.map(({ resource }) => resource)
  return {
    files,
    models: resources.filter((each): each is DeviceModel => each.kind === 'DeviceModel'),
    devices: resources.filter((each): each is Device => each.kind === 'Device'),
    resources,
    findings: all.sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.column - b.column),
    sources,
  }
}

/** What is wrong between all of them, as far as it is about those from `first` on; the others were looked at before. */
const setFindings = (
  loaded: readonly LoadedResource[],
  first: number,
  brokenModels: ReadonlySet<ObjectKey>,
): LocatedFinding[] =>
  validateSet(
    loaded.map(({ resource }) => resource),
    { brokenModels },
  ).flatMap(({ object, ...finding }) => (object < first ? [] : locateFindings(loaded[object]!.document, [finding])))

/** Findings of a protocol about a model are placed in the model; those that start at `devices` in that device. */
async function protocolFindings(loaded: readonly LoadedResource[]): Promise<LocatedFinding[]> {
  const findings: LocatedFinding[] = []
  for (const { document, resource } of loaded) {
    if (resource.kind !== 'DeviceModel') continue
    const model = resource as DeviceModel
    const users = loaded.filter(
      (each) => each.resource.kind === 'Device' && modelKeyOf(each.resource as Device) === keyOf(model),
    )
    for (const protocol of protocols) {
      if (!mentions(model.spec, protocol.name)) continue
      const lint = await protocol.lint()
      const devices = users.map((each) => (each.resource as Device).spec)
      for (const finding of lint(model.spec, devices)) {
        const [head, index, ...rest] = finding.path
        const user = head === 'devices' && typeof index === 'number' ? users[index] : undefined
        if (user === undefined)
          findings.push(...locateFindings(document, [{ ...finding, path: specPath(finding.path) }]))
        else findings.push(...locateFindings(user.document, [{ ...finding, path: specPath(rest) }]))
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
  objectKey(device.metadata.namespace ?? DEFAULT_NAMESPACE, device.spec.model)

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
